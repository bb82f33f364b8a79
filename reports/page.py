"""One HTML page that holds everything, also its pictures, and loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports.blocks import Part

_TEMPLATES = Path(__file__).parent / "templates"


def fill(title: str, banner: str, statement: str, warn: bool, parts: Sequence[Part]) -> str:
    """The page as HTML text.

    Args:
        title: Of the page.
        banner: What every reader must know first, a line.
        statement: A sentence or two below it; the footer repeats it.
        warn: The banner stands out.
        parts: The sections, under the headings of the table of contents.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.j2")
    return template.render(title=title, banner=banner, statement=statement, warn=warn, parts=parts)
