"""An evaluation of score files as a figure."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from lesions.evaluation import Evaluation
from reports import clouds, style


@style.settings()
def draw_dice(evaluation: Evaluation) -> Figure:
    """A raincloud of Dice per fold (and prediction): of lesion slices, or of subjects."""
    groups = _groups(evaluation)
    figure = style.new_figure(7.2, 1.1 + 0.7 * len(groups))
    axes = figure.subplots()
    clouds.draw_scores(axes, groups, {})
    axes.set_xlabel(_dice_label(evaluation))
    style.footnote(figure, clouds.SCORES)
    return figure


def _groups(evaluation: Evaluation) -> dict[str, np.ndarray]:
    rows = evaluation.rows
    if evaluation.unit == "slices":
        rows = rows[rows["lesion_voxels"] > 0]
    several = len(rows["fold"].unique()) > 1
    keys = [f"Fold {fold}" if several and len(fold) < 4 else fold for fold in rows["fold"]]
    if "prediction" in rows and rows["prediction"].ne("").any():
        keys = [f"{k}, {p}" if several else p for k, p in zip(keys, rows["prediction"], strict=True)]
    column = _dice_column(evaluation)
    found = {str(name): values.to_numpy() for name, values in rows.groupby(keys, sort=False)[column]}
    return (
        found if len(found) == 1 or "prediction" in rows else {"All folds": rows[column].to_numpy(), **found}
    )


def _dice_column(evaluation: Evaluation) -> str:
    return "dice" if evaluation.exact == len(evaluation.rows) else "dice_smoothed"


def _dice_label(evaluation: Evaluation) -> str:
    kind = "plain" if _dice_column(evaluation) == "dice" else "smoothed by 1"
    return f"Dice of lesion slices ({kind})" if evaluation.unit == "slices" else f"3-D Dice ({kind})"
