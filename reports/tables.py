"""Tables: numbers formatted once, for the page and for the terminal."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

MISSING = "-"

# Words for a reader; a column that is not here is shown under its own name.
LABELS = {
    "subject": "Subject",
    "file": "File",
    "files": "Files",
    "problem": "Problem",
    "expected": "Expected",
    "found": "Found",
    "remedy": "What to do",
    "severity": "Severity",
    "table": "Table",
    "plane": "Plane",
    "fold": "Fold",
    "subjects": "Subjects",
    "protocol": "Slices",
    "prediction": "Prediction",
    "dice": "Dice",
    "dice_sd": "Dice sd",
    "dice_median": "Dice median",
    "floor": "Dice of an empty mask",
    "recall": "Recall",
    "precision": "Precision",
    "volume_difference": "Volume difference",
    "source": "Source",
    "place": "Place",
    "lesions": "Lesions",
    "of_lesions": "of",
    "lesions_percent": "%",
    "of_subjects": "of",
    "subjects_percent": "%",
    "tv": "TV",
    "ks": "KS",
    "mwu_p": "MWU p",
    "gate": "Gate",
    "threshold": "Threshold",
    "value": "Value",
    "passed": "Result",
    "version": "Version",
    "pushed": "Pushed",
    "network": "Network",
    "loss": "Loss",
    "parameters": "Parameters",
    "epochs": "Epochs",
    "feature": "Feature",
    "divergence": "Divergence",
    "limit": "Limit",
}


@dataclass(frozen=True)
class Table:
    """A table of finished texts.

    Attributes:
        caption: What it shows, of how many.
        columns: Headings.
        rows: Cells, as many to a row as there are columns; the first one is the row's heading.
        right: Per column, True where it is aligned to the right (numbers).
        note: Small print under the table.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[bool, ...]
    note: str = ""


def number(value: Any, digits: int = 3) -> str:
    """One value for a reader: 12,345; 0.612; "-" for a missing one; yes or no; text as it is.

    Args:
        value: Anything.
        digits: Decimals of a number that is not whole by type.
    """
    if value is None or value is pd.NaT or value is pd.NA:
        return MISSING
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}"
    if isinstance(value, numbers.Real):
        return _real(float(value), digits)
    return str(value)


def _real(value: float, digits: int) -> str:
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    text = f"{value:.{digits}f}"
    # A small value must not be shown as none at all.
    if value != 0 and float(text) == 0:
        return f"{'<' if value > 0 else '>-'}{10.0**-digits:.{digits}f}"
    return text


def duration(seconds: float) -> str:
    """Seconds as a person says them: 8.2 s, 4 min 12 s, 3 h 05 min."""
    if math.isnan(seconds):
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def table(
    frame: pd.DataFrame,
    caption: str,
    digits: dict[str, int] | None = None,
    note: str = "",
    most: int | None = None,
) -> Table:
    """A frame as a table of texts.

    Args:
        frame: Shown column by column.
        caption: What it shows.
        digits: Decimals by column, 3 where not given.
        note: Small print.
        most: Show so many rows at most, and say how many more there are.
    """
    shown = frame if most is None else frame.head(most)
    if len(shown) < len(frame):
        note = f"{note} The first {len(shown):,} of {len(frame):,} rows.".strip()
    columns = [[number(v, (digits or {}).get(str(name), 3)) for v in shown[name]] for name in shown.columns]
    right = tuple(_is_number(frame[name]) for name in frame.columns)
    headings = tuple(LABELS.get(str(name), str(name)) for name in frame.columns)
    return Table(caption, headings, tuple(zip(*columns, strict=True)), right, note)


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def facts(values: dict[str, Any], caption: str, note: str = "") -> Table:
    """Name and value, two columns; nested values are joined to one line."""
    rows = tuple((str(name), _flat(value)) for name, value in values.items())
    return Table(caption, ("Item", "Value"), rows, (False, False), note)


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_flat(item)}" for key, item in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(_flat(item) for item in value)
    return number(value)


def text_table(frame: pd.DataFrame, digits: dict[str, int] | None = None) -> str:
    """A frame for the terminal: aligned columns, a line under the headings, no line end at the end."""
    return as_text(table(frame, "", digits))


def as_text(made: Table) -> str:
    """A table for the terminal, as `text_table`; without caption and note."""
    lines = [made.columns, *made.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(made.columns))]
    made_lines = [_aligned(line, widths, made.right) for line in lines]
    made_lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(made_lines)


def as_markdown(made: Table) -> str:
    """A table in Markdown: its caption in bold, the rows, its note; no line end at the end."""
    lines = [made.columns, tuple("---:" if right else "---" for right in made.right), *made.rows]
    body = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
    return f"**{made.caption}**\n\n{body}" + (f"\n\n{made.note}" if made.note else "")


def _aligned(cells: Iterable[str], widths: list[int], right: tuple[bool, ...]) -> str:
    parts = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True)]
    return "  ".join(parts).rstrip()
