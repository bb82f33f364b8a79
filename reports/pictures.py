"""The section of pictures: the best, the median and the worst hold-out subject, then the others."""

from __future__ import annotations

import numpy as np

from lesions import nifti
from lesions.errors import InputError
from lesions.grid import Volume
from reports import style, subjects
from reports.blocks import Block, Details, Gallery, Heading, Image, Section, Text
from reports.content import Picture, RunReport
from reports.tables import MISSING, number

MOST_PICTURES = 40  # beside the three: with all else the page stays below 12 MB (docs/report.md)


def pictures(content: RunReport) -> Section:
    """Best, median and worst in full; the others small."""
    if not content.pictures:
        return Section("pictures", "Pictures", (Text("This run left no masks to show.", "missing"),))
    ordered = by_dice(content.pictures)
    cases = extremes(ordered)
    told = Text(
        f"Hold-out subjects by the 3-D Dice of their fused mask ({_kind(content)}). Each row is the slice in which the "
        "true lesion is largest; the white frame marks the close-up. The subject's left is on the left. Disagreement: "
        "the largest less the smallest lesion probability of the planes, 0 where they agree."
    )
    blocks: list[Block] = [told]
    for name, item in cases.items():
        blocks += [
            Heading(f"{name} of {len(ordered)}: {item.subject}, 3-D Dice {number(item.dice)}"),
            case(item, content.phantom),
        ]
    others = [item for item in ordered if item not in cases.values()]
    if others:
        blocks.append(_others(others, content.phantom))
    return Section("pictures", "Best, median and worst", tuple(blocks))


def _kind(content: RunReport) -> str:
    return "phantom" if content.phantom else "real scans"


def by_dice(items: list[Picture]) -> list[Picture]:
    """Pictures by falling Dice, unknown ones last."""
    return sorted(items, key=lambda p: (_unknown(p.dice), -(p.dice or 0.0), p.subject))


def extremes(ordered: list[Picture]) -> dict[str, Picture]:
    """Name -> best, median (the lower one of two) and worst of those whose Dice is known, none twice.

    Args:
        ordered: Of `by_dice`.
    """
    known = [item for item in ordered if not _unknown(item.dice)]
    found: dict[str, Picture] = {}
    for name, place in (("Best", 0), ("Worst", len(known) - 1), ("Median", len(known) // 2)):
        if known and known[place] not in found.values():
            found[name] = known[place]
    return {name: found[name] for name in ("Best", "Median", "Worst") if name in found}


def _others(others: list[Picture], phantom: bool) -> Details:
    shown = thinned(others)
    which = (
        f"all {len(others)}" if len(shown) == len(others) else f"{len(shown)} of {len(others)}, evenly spaced"
    )
    told = Text("Wide blue outline: truth; narrow orange outline: fused prediction.")
    gallery = Gallery(tuple(picture(item, phantom) for item in shown))
    return Details(f"The other hold-out subjects ({which}), best first", (told, gallery))


def thinned(ordered: list[Picture], most: int = MOST_PICTURES) -> list[Picture]:
    """At most `most` pictures, evenly spaced and with both ends."""
    if len(ordered) <= most:
        return ordered
    return [ordered[i] for i in np.linspace(0, len(ordered) - 1, most).round().astype(int)]


def _unknown(dice: float | None) -> bool:
    return dice is None or bool(np.isnan(dice))


def case(item: Picture, phantom: bool) -> Image | Text:
    """One subject in full, or a line that says why there is none."""
    try:
        image, truth, prediction = _volumes(item)
        apart = None if item.disagreement is None else _on_grid(item.disagreement, image)
    except InputError as error:
        return Text(f"{item.subject}: no picture. {error}", "missing")
    figure = subjects.draw_case(image, truth, prediction, apart)
    also = "" if apart is None else ", and how far the planes disagree"
    said = _caption(item, image, truth, prediction)
    alt = f"{_what(phantom)} of {item.subject} in three planes: scan, truth, prediction{also}. {said}"
    return style.embed_photo(figure, alt, said)


def picture(item: Picture, phantom: bool) -> Image | Text:
    """One subject's small picture, or a line that says why there is none."""
    try:
        image, truth, prediction = _volumes(item)
    except InputError as error:
        return Text(f"{item.subject}: no picture. {error}", "missing")
    figure = subjects.draw_subject(image, truth, prediction)
    alt = f"{_what(phantom)} of {item.subject}: axial, sagittal and coronal cut with outlines of truth and prediction"
    return style.embed_photo(figure, alt, _caption(item, image, truth, prediction))


def _what(phantom: bool) -> str:
    return "Synthetic scan" if phantom else "Scan"


def _caption(item: Picture, image: Volume, truth: np.ndarray, prediction: np.ndarray) -> str:
    dice = MISSING if _unknown(item.dice) else number(item.dice)
    found = f"prediction {_milliliters(prediction, image)} mL"
    true = f"truth {_milliliters(truth, image)} mL, {found}" if item.truth else f"{found}, no truth given"
    return f"{item.subject}: 3-D Dice {dice}; {true}."


def _volumes(item: Picture) -> tuple[Volume, np.ndarray, np.ndarray]:
    image = nifti.canonical(nifti.read(item.image))
    prediction = _on_grid(item.prediction, image) > 0
    truth = _on_grid(item.truth, image) > 0 if item.truth else np.zeros_like(prediction)
    return image, truth, prediction


def _on_grid(path: str | object, image: Volume) -> np.ndarray:
    volume = nifti.canonical(nifti.read(str(path)))
    if not volume.grid.same_as(image.grid, 0.1):
        raise InputError(f"{path}: not on its scan's grid; resample the mask to the scan")
    return volume.data


def _milliliters(mask: np.ndarray, image: Volume) -> str:
    return number(float(mask.sum()) * image.grid.voxel_volume / 1000.0, 2)
