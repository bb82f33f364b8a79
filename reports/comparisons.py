"""The section about losses and networks held against each other; on the page only where they were."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from lesions.files import read_table
from reports import style
from reports.blocks import Block, Bullets, Heading, Section, TableBlock, Text
from reports.comparison import cost_table, draw_dice, score_table, verdict
from reports.content import Comparison, RunReport

ABOUT = "about.json"
TABLES = ("scores", "costs", "significance", "subjects")
_OPTIMISTIC = (
    "All figures are of validation folds, which chose the epochs: alike for every variant, but no test. What is chosen "
    "by them must be tested on the hold-out."
)


def comparisons(content: RunReport) -> Section:
    """Tables, words and a figure for each comparison; empty where there was none."""
    blocks = [block for compared in content.comparisons for block in _blocks(compared)]
    return Section("comparisons", "Comparisons", (Text(_OPTIMISTIC, "caution"), *blocks) if blocks else ())


def _blocks(compared: Comparison) -> Iterator[Block]:
    yield Heading(compared.title)
    if compared.failed:
        yield Text(f"Missing: {'; '.join(compared.failed)}.", "bad")
    for plane, scores in compared.scores.groupby("plane", sort=False):
        tests = compared.significance[compared.significance["plane"] == plane]
        yield TableBlock(score_table(scores, str(plane)))
        yield Text(verdict(tests))
        yield Bullets(tuple(tests["sentence"]))
    yield style.embed(
        draw_dice(compared.subjects),
        "3-D Dice of every validation subject, a row per variant, a panel per plane",
        f"{compared.title}: 3-D Dice of every validation subject.",
        vector=True,
    )
    yield TableBlock(cost_table(compared.costs, compared.device))


def read_comparisons(folder: Path) -> tuple[Comparison, ...]:
    """What `raxnet compare` left in a folder of a run's root; nothing where it was never run.

    Args:
        folder: Holds a folder for each kind of comparison.
    """
    made = []
    for path, tables in _files(folder):
        about = json.loads(path.read_text())
        frames: dict[str, pd.DataFrame] = {table.stem: read_table(table) for table in tables}
        made.append(Comparison(about["title"], about["device"], tuple(about["failed"]), **frames))
    return tuple(made)


def comparisons_digest(folder: Path) -> str:
    """SHA-256 of what `read_comparisons` reads; empty where there is nothing."""
    content = b"".join(path.read_bytes() for about, tables in _files(folder) for path in (about, *tables))
    return hashlib.sha256(content).hexdigest() if content else ""


def _files(folder: Path) -> list[tuple[Path, list[Path]]]:
    """about.json and the tables of each comparison."""
    return [
        (about, [about.with_name(f"{name}.csv") for name in TABLES])
        for about in sorted(folder.glob(f"*/{ABOUT}"))
    ]
