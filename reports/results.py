"""The sections that say how good the models are: headline, hold-out, pictures, validation, gates."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lesions import nifti
from lesions.errors import InputError
from lesions.grid import Volume
from lesions.metrics import summarize
from reports import scores, style, subjects
from reports.blocks import Block, Gallery, Image, Section, TableBlock, Text, Tile, Tiles
from reports.content import Picture, RunReport
from reports.distributions import category_unit
from reports.tables import MISSING, facts, number, table

MOST_PICTURES = 200  # about 50 kB each: more than a page can bear
_PICTURE_DPI = 130


def headline(content: RunReport) -> Section:
    """The one number, its n and spread, beside each plane's own; and whether the models are good enough."""
    blocks: list[Block] = []
    if content.holdout.empty:
        blocks.append(Text("No hold-out subject was scored in this run: there is no test result.", "missing"))
    else:
        blocks += [Text(_verdict(content)), Tiles(tuple(_tiles(content.holdout)))]
    blocks.append(_gate_text(content.gates))
    return Section("result", "Result", tuple(blocks))


def _tiles(holdout: pd.DataFrame) -> list[Tile]:
    tiles = []
    for name in sorted(scores.predictions(holdout), key=lambda name: name != "fused"):
        dice = summarize(holdout.loc[holdout["prediction"] == name, "dice"].to_numpy())
        detail = f"n = {int(dice['n'])}, sd {number(dice['sd'])}, median {number(dice['median'])}"
        label = "Fused, mean 3-D Dice" if name == "fused" else f"{name.capitalize()} alone"
        tiles.append(Tile(label, number(dice["mean"]), detail, name == "fused"))
    return tiles


def _verdict(content: RunReport) -> str:
    means = content.holdout.groupby("prediction")["dice"].mean()
    kind = "synthetic (phantom)" if content.phantom else "real"
    count = content.holdout["subject"].nunique()
    text = f"Test on {count} {kind} hold-out subjects that no training and no choice of a model has seen."
    planes = means.drop("fused", errors="ignore")
    if "fused" not in means or planes.empty:
        return text
    better = [name for name in planes.index if means["fused"] <= planes[name]]
    if better:
        return f"{text} The fused mask's mean Dice is not above that of {' and '.join(better)} alone."
    return f"{text} The fused mask's mean Dice is above that of every single plane."


def _gate_text(gates: pd.DataFrame) -> Text:
    if gates.empty:
        return Text("No gates were recorded: nothing says whether these models are good enough.", "missing")
    failed = gates[~gates["passed"].astype(bool)]
    if failed.empty:
        return Text(f"Blessed: all {len(gates)} gates passed.", "good")
    reasons = "; ".join(f"{row.gate}, {_short(row.threshold, row.value)}" for row in failed.itertuples())
    return Text(f"Not blessed: {len(failed)} of {len(gates)} gates failed ({reasons}).", "bad")


def _short(threshold: float, value: float) -> str:
    """How far a value that failed is below its gate."""
    if pd.isna(value):
        return "no value"
    return f"{number(float(value))} is {number(float(threshold - value))} below {number(float(threshold))}"


def holdout(content: RunReport) -> Section:
    """The test: tables and a figure over every hold-out subject."""
    rows = content.holdout
    if rows.empty:
        return Section(
            "holdout", "Hold-out", (Text("No hold-out subject was scored in this run.", "missing"),)
        )
    count = rows["subject"].nunique()
    caption = f"3-D scores of the hold-out, each over all its n subjects ({_kind(content)})"
    note = (
        "sd: population, over the n subjects. q1, q3: quartiles. "
        "Scores are of whole volumes, never means over slices."
    )
    empty = rows.loc[rows["lesion_voxels"] == 0, "subject"].nunique()
    missing = f" {empty} without a lesion have no place on the logarithmic axis." if empty else ""
    figure = style.embed(
        scores.draw_dice(rows, content.grid),
        f"3-D Dice of {count} hold-out subjects by lesion volume, for each plane and the fused mask",
        f"3-D Dice of every hold-out subject (n = {count}) by its true lesion volume; a gray line joins the "
        f"predictions of one subject.{missing} Right: bar, quartiles; white line, median; diamond, mean.",
        vector=True,
    )
    by_size = table(
        scores.by_category(rows, content.grid),
        f"Mean 3-D Dice by size category of the true lesion volume ({category_unit('3d', content.grid)})",
        note="n: subjects. A mean over few subjects says little.",
    )
    single = table(
        _per_subject(rows), f"3-D Dice of every hold-out subject (n = {count})", {"Lesion voxels": 0}
    )
    main = table(scores.summary(rows, content.grid), caption, note=note)
    return Section("holdout", "Hold-out", (TableBlock(main), figure, TableBlock(by_size), TableBlock(single)))


def _kind(content: RunReport) -> str:
    return "phantom" if content.phantom else "real scans"


def _per_subject(rows: pd.DataFrame) -> pd.DataFrame:
    wide = rows.pivot_table(index="subject", columns="prediction", values="dice", dropna=False)
    wide = wide[scores.predictions(rows)]
    wide.insert(0, "Lesion voxels", rows.groupby("subject")["lesion_voxels"].first())
    return wide.sort_values("Lesion voxels", ascending=False).reset_index()


def pictures(content: RunReport) -> Section:
    """Scan, truth and prediction of the hold-out's subjects, best first."""
    if not content.pictures:
        return Section("pictures", "Pictures", (Text("This run left no masks to show.", "missing"),))
    shown = choose(content.pictures)
    count = len(content.pictures)
    which = (
        f"all {count}"
        if len(shown) == count
        else f"{len(shown)} of {count}, evenly spaced from best to worst"
    )
    text = (
        f"Hold-out subjects ({which}), best fused Dice first: {_kind(content)}. Each column is the slice in "
        "which the true lesion is largest. Wide blue outline: truth; narrow orange outline: fused "
        "prediction. The subject's left is on the left. The white frame marks the close-up."
    )
    return Section(
        "pictures", "Pictures", (Text(text), Gallery(tuple(picture(p, content.phantom) for p in shown)))
    )


def choose(all_pictures: list[Picture], most: int = MOST_PICTURES) -> list[Picture]:
    """Pictures by falling Dice (unknown ones last), at most `most`, evenly spaced and with both ends."""
    ordered = sorted(all_pictures, key=lambda p: (_unknown(p.dice), -(p.dice or 0.0), p.subject))
    if len(ordered) <= most:
        return ordered
    return [ordered[i] for i in np.linspace(0, len(ordered) - 1, most).round().astype(int)]


def _unknown(dice: float | None) -> bool:
    return dice is None or bool(np.isnan(dice))


def picture(item: Picture, phantom: bool) -> Image | Text:
    """One subject's picture, or a line that says why there is none."""
    try:
        image, truth, prediction = _volumes(item)
    except InputError as error:
        return Text(f"{item.subject}: no picture. {error}", "missing")
    figure = subjects.draw_subject(image, truth, prediction)
    dice = MISSING if _unknown(item.dice) else number(item.dice)
    volumes = f"prediction {_milliliters(prediction, image)} mL"
    volumes = (
        f"truth {_milliliters(truth, image)} mL, {volumes}" if item.truth else f"{volumes}, no truth given"
    )
    what = "Synthetic scan" if phantom else "Scan"
    alt = f"{what} of {item.subject}: axial, sagittal and coronal cut with outlines of truth and prediction"
    return style.embed(figure, alt, f"{item.subject}: 3-D Dice {dice}; {volumes}.", dpi=_PICTURE_DPI)


def _volumes(item: Picture) -> tuple[Volume, np.ndarray, np.ndarray]:
    image = nifti.canonical(nifti.read(item.image))
    prediction = _mask(item.prediction, image)
    truth = _mask(item.truth, image) if item.truth else np.zeros_like(prediction)
    return image, truth, prediction


def _mask(path: str | object, image: Volume) -> np.ndarray:
    mask = nifti.canonical(nifti.read(str(path)))
    if not mask.grid.same_as(image.grid, 0.1):
        raise InputError(f"{path}: not on its scan's grid; resample the mask to the scan")
    return mask.data > 0


def _milliliters(mask: np.ndarray, image: Volume) -> str:
    return number(float(mask.sum()) * image.grid.voxel_volume / 1000.0, 2)


def validation(content: RunReport) -> Section:
    """Slice metrics of the validation folds, which chose epoch and fold."""
    if content.slice_metrics.empty:
        return Section("validation", "Validation", (Text("No validation fold was evaluated.", "missing"),))
    text = Text(
        "Validation, optimistic: these folds chose the epoch and the fold. Only the hold-out is a test. "
        "Slice means are not comparable with 3-D ones: an empty slice that stays empty scores 1."
    )
    made = table(content.slice_metrics, "Slice metrics of the validation folds; n: slices, means over slices")
    return Section("validation", "Validation", (text, TableBlock(made)))


def gates(content: RunReport) -> Section:
    """Gates, pushed models and the release."""
    blocks: list[Block] = [_gate_text(content.gates)]
    if not content.gates.empty:
        blocks.append(TableBlock(table(_judged(content.gates), "Gates: a value must reach its threshold")))
    if content.models.empty:
        blocks.append(Text("No models were recorded.", "missing"))
    else:
        blocks.append(TableBlock(table(content.models, "Models", {"version": 0})))
    return Section("models", "Models", (*blocks, *_release(content)))


def _judged(frame: pd.DataFrame) -> pd.DataFrame:
    results = [
        "passed" if row.passed else f"failed: {_short(row.threshold, row.value)}"
        for row in frame.itertuples()
    ]
    return frame.assign(passed=results)


def _release(content: RunReport) -> list[Block]:
    if content.release is None:
        return [Text("Nothing was released: the models in service, if any, are unchanged.", "missing")]
    return [TableBlock(facts(content.release, "Release"))]
