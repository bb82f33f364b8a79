"""A subject's page in a derivative: what was found in each of its scans, with pictures.

Its place and name: docs/spec/practice.md#derivative-names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lesions import nifti
from lesions.errors import InputError
from reports import style, subjects
from reports.blocks import Block, Image, Part, Section, TableBlock, Text, Tile, Tiles
from reports.page import fill
from reports.tables import facts, number

FACTS = {  # of a sidecar, that the page shows
    *(
        "Warnings",
        "Models",
        "TrainingStatement",
        "LesionSizesMm3",
        "LesionVolumeMl",
        "LesionCount",
        "PlaneDisagreement",
    ),
    *("Planes", "MNICheck", "Sources", "FusionRule", "Threshold", "FlipAveraged", "GeneratedBy"),
}


@dataclass(frozen=True)
class Finding:
    """A scan's mask.

    Attributes:
        label: Its name, for people.
        image: The scan.
        mask: On its grid.
        disagreement: How far the planes' probabilities lie apart, on its grid; None with a single plane.
        sidecar: What was written beside the mask; `FACTS` are in it.
    """

    label: str
    image: Path
    mask: Path
    disagreement: Path | None
    sidecar: dict[str, Any]


def render(subject: str, findings: list[Finding]) -> str:
    """The page as HTML text.

    Args:
        subject: For example sub-r001s001.
        findings: At least one.
    """
    phantom = any(model["Phantom"] for f in findings for model in f.sidecar["Models"].values())
    banner = (
        "Models trained on a phantom: not fit for real scans." if phantom else "For research. No diagnosis."
    )
    statement = " ".join(dict.fromkeys(f.sidecar["TrainingStatement"] for f in findings))
    sections = tuple(_section(f"scan-{index}", finding) for index, finding in enumerate(findings, start=1))
    return fill(f"Lesion masks of {subject}", banner, statement, phantom, [Part("Scans", sections)])


def _section(name: str, finding: Finding) -> Section:
    warnings = [Text(line, "bad") for line in finding.sidecar["Warnings"]]
    blocks: list[Block] = [*warnings, _headline(finding.sidecar), _picture(finding), _made_by(finding)]
    return Section(name, finding.label, tuple(blocks))


def _headline(said: dict[str, Any]) -> Tiles:
    sizes = [f"{number(size / 1000, 2)} ml" for size in said["LesionSizesMm3"][:5]]
    apart = said["PlaneDisagreement"]
    return Tiles(
        (
            Tile("Lesion volume", f"{number(said['LesionVolumeMl'], 2)} ml", "on the scan's own grid", True),
            Tile("Lesions", number(said["LesionCount"]), f"largest: {', '.join(sizes) or 'none'}"),
            Tile(
                "Planes' disagreement", number(apart, 2), f"{', '.join(said['Planes'])}; 0 where they agree"
            ),
            Tile("MNI space", said["MNICheck"]["Verdict"], f"registered: {said.get('Registered') or 'no'}"),
        )
    )


def _picture(finding: Finding) -> Image | Text:
    """The slices in which the mask is largest, or a line that says why there are none."""
    try:
        image = nifti.canonical(nifti.read(finding.image))
        mask, apart = (
            None if path is None else nifti.canonical(nifti.read(path))
            for path in (finding.mask, finding.disagreement)
        )
        for volume in (mask, apart):
            if volume is not None and not volume.grid.same_as(image.grid, 0.1):
                raise InputError(f"{finding.mask}: not on its scan's grid; the scan was replaced")
    except InputError as error:
        return Text(f"No picture. {error}", "missing")
    found = np.zeros(image.data.shape, bool) if mask is None else mask.data > 0
    figure = subjects.draw_case(image, None, found, None if apart is None else apart.data)
    which = "in which the mask is largest" if found.any() else "in the middle: the mask is empty"
    caption = f"{finding.label}: the slice of each plane {which}. The subject's left is on the left."
    also = "" if apart is None else ", and how far the planes disagree"
    return style.embed_photo(figure, f"Scan in three planes with the lesion mask{also}. {caption}", caption)


def _made_by(finding: Finding) -> TableBlock:
    said = finding.sidecar
    models = {plane: f"version {m['Version']}, {m['SHA256'][:12]}" for plane, m in said["Models"].items()}
    shown = {
        "Mask": finding.mask.name,
        "Source": said["Sources"],
        "Models": models,
        "Fusion": f"{said['FusionRule']}, threshold {said['Threshold']:g}",
        "Mirrored and averaged": said["FlipAveraged"],
        "Place in MNI space": said["MNICheck"]["Message"],
        "Made by": said["GeneratedBy"],
    }
    return TableBlock(facts(shown, "How it was made"))
