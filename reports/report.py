"""The report of a run: one HTML page that holds everything, also its pictures, and loads nothing."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lesions.files import write_text
from reports import background, lesion_sections, results
from reports.content import RunReport

_TEMPLATES = Path(__file__).parent / "templates"

# In the order of the page: first how good it is, then where that comes from.
_SECTIONS = (
    results.headline,
    results.holdout,
    results.pictures,
    background.dataset,
    lesion_sections.lesion_sizes,
    lesion_sections.locations,
    lesion_sections.split,
    background.anomalies,
    background.training,
    results.validation,
    results.gates,
    background.run,
)


def render(content: RunReport) -> str:
    """The page as HTML text; whatever is missing in `content` is said to be missing."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        title=content.title,
        statement=content.statement,
        phantom=content.phantom,
        sections=[section(content) for section in _SECTIONS],
    )


def write_report(content: RunReport, path: Path) -> None:
    """Writes the page: to a temporary name first, then renamed.

    Args:
        content: What to report.
        path: The HTML file; its folder is made.

    Raises:
        InputError: The folder cannot be written.
    """
    write_text(path, render(content))
