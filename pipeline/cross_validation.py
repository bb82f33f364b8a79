"""The cross-validation of a run as a table per plane: what each fold's model scored on its validation fold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from components import fold_selector
from lesions.files import write_csv, write_text
from pipeline import executions
from pipeline.config import DATABASE, Config
from pipeline.pipeline import evaluator_id
from reports import cross_validation as tables
from reports.tables import as_markdown

if TYPE_CHECKING:
    from trainer.job import Training

CSV, MARKDOWN = "cross_validation.csv", "cross_validation.md"


def write(config: Config, failed: Sequence[tuple[Training, str]]) -> Path:
    """Writes cross_validation.csv and .md into the root, of the newest run's evaluations.

    Args:
        config: Of the run.
        failed: Trainings that failed, and why; they have a row without scores.

    Returns:
        The Markdown file.
    """
    reasons = {(one.plane, one.fold): why for one, why in failed}
    rows = pd.concat([_plane(config, plane, reasons) for plane in config.planes], ignore_index=True)
    write_csv(config.root / CSV, rows)
    pages = [as_markdown(tables.table_of(part, plane)) for plane, part in rows.groupby("plane", sort=False)]
    write_text(config.root / MARKDOWN, "\n\n".join(pages) + "\n")
    return config.root / MARKDOWN


def _plane(config: Config, plane: str, reasons: dict[tuple[str, int], str]) -> pd.DataFrame:
    """Columns plane, fold, dice, recall, precision, mean, lesion_dice, dice_3d, best, failed."""
    folds = [fold for fold in sorted(config.train_folds) if (plane, fold) not in reasons]
    nodes = {fold: evaluator_id(plane, fold) for fold in folds}
    found = executions.outputs(config.root / DATABASE, nodes.values())
    scored = fold_selector.score(
        {fold: found[node]["evaluation"] for fold, node in nodes.items()}, config.fusion.fold_rule
    )
    lost = [{"fold": fold, "failed": why} for (p, fold), why in reasons.items() if p == plane]
    best = fold_selector.choose(scored) if folds and not lost else None
    rows = pd.concat([scored.drop(columns="score", errors="ignore"), pd.DataFrame(lost)], ignore_index=True)
    rows = rows.sort_values("fold").assign(best=rows["fold"] == best)
    rows.insert(0, "plane", plane)
    return rows
