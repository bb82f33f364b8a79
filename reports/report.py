"""The report of a run: one HTML page that holds everything, also its pictures, and loads nothing."""

from __future__ import annotations

from pathlib import Path

from lesions.files import write_text
from reports import (
    background,
    batches,
    comparisons,
    fusion,
    gates,
    headline,
    holdout,
    lesion_sections,
    lineage,
    model_card,
    pictures,
    validation,
)
from reports.blocks import Part
from reports.content import RunReport
from reports.page import fill

PAGE = "report.html"
PHANTOM = "Phantom data: every scan and every lesion on this page is synthetic."
NO_RESULT = "No figure here says anything about patients, or about ATLAS."

# In the order of the page: first how good it is, then where that comes from.
_PARTS = {
    "How good it is": (
        headline.headline,
        holdout.holdout,
        fusion.fusion,
        pictures.pictures,
        model_card.model_card,
    ),
    "The data": (
        background.dataset,
        lesion_sections.lesion_sizes,
        lesion_sections.locations,
        lesion_sections.split,
        background.anomalies,
    ),
    "Training and validation": (
        batches.batches,
        background.training,
        validation.validation,
        comparisons.comparisons,
    ),
    "Release and lineage": (gates.gates, lineage.lineage),
}


def render(content: RunReport) -> str:
    """The page as HTML text; whatever is missing in `content` is said to be missing."""
    parts = [
        Part(name, tuple(made for section in sections if (made := section(content)).blocks))
        for name, sections in _PARTS.items()
    ]
    if not content.phantom:
        return fill(content.title, "Real scans.", content.statement, False, parts)
    return fill(content.title, PHANTOM, f"{content.statement} {NO_RESULT}", True, parts)


def write_report(content: RunReport, path: Path) -> None:
    """Writes the page: to a temporary name first, then renamed.

    Args:
        content: What to report.
        path: The HTML file; its folder is made.

    Raises:
        InputError: The folder cannot be written.
    """
    write_text(path, render(content))
