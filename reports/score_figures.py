"""Figures of scores: 3-D Dice by lesion volume, rainclouds of subjects, and of slices before and after fusion."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lesions import metrics
from lesions.grid import Grid
from reports import clouds, style
from reports.distributions import size_unit
from reports.scores import FUSED, NAMES, predictions

_COLORS = {name: color for name, (color, _) in style.PREDICTIONS.items()}
SHOWN = ("dice", "recall", "precision")


@style.settings()
def draw_by_volume(holdout: pd.DataFrame, grid: Grid | None) -> Figure:
    """Each subject's 3-D Dice by its true lesion volume.

    Args:
        holdout: Of `RunReport`. Subjects without a lesion have no place (logarithmic axis).
        grid: For the unit of the volume.
    """
    figure = style.new_figure(7.2, 3.6)
    axes = figure.subplots()
    _by_volume(axes, holdout[holdout["lesion_voxels"] > 0], size_unit("3d", grid)[0])
    axes.set_xlabel(f"true lesion volume ({'voxels' if grid is None else 'mL'})")
    axes.set_ylabel("3-D Dice")
    axes.set_ylim(-0.03, 1.03)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _by_volume(axes: Axes, holdout: pd.DataFrame, factor: float) -> None:
    style.log_x(axes)
    if len(holdout):
        volumes = holdout["lesion_voxels"] * factor
        style.log_limits(axes, float(volumes.min()), float(volumes.max()))
    for _, rows in holdout.groupby("subject"):
        x = float(rows["lesion_voxels"].iloc[0]) * factor
        axes.plot([x, x], [rows["dice"].min(), rows["dice"].max()], color="#D1D5DB", linewidth=1.0, zorder=1)
    for name in predictions(holdout):
        color, marker = style.PREDICTIONS[name]
        rows = holdout[holdout["prediction"] == name]
        axes.scatter(
            rows["lesion_voxels"] * factor,
            rows["dice"],
            s=34 if name == FUSED else 20,
            marker=marker,
            color=color,
            edgecolor="white",
            linewidth=0.5,
            zorder=3 if name == FUSED else 2,
            label=name,
        )


@style.settings()
def draw_subjects(holdout: pd.DataFrame, note: str = "") -> Figure:
    """Rainclouds of 3-D Dice, recall and precision: a panel each, a row for every prediction.

    Args:
        holdout: Of `RunReport`.
        note: Said below, such as that the scans are phantoms.
    """
    names = predictions(holdout)
    figure = style.new_figure(9.6, 1.3 + 0.7 * len(names), space=0.03)
    panels = figure.subplots(1, len(SHOWN), sharey=True)
    for axes, score in zip(panels, SHOWN, strict=True):
        values = {n: holdout.loc[holdout["prediction"] == n, score].dropna().to_numpy() for n in names}
        clouds.draw_scores(axes, values, _COLORS)
        axes.set_title(f"3-D {NAMES[score]}")
    style.footnote(figure, clouds.SCORES, note)
    return figure


@style.settings()
def draw_before_after(by_slice: pd.DataFrame, note: str = "") -> Figure:
    """Rainclouds of the Dice of slices with lesion, unsmoothed: each plane's own mask above, the fused one below.

    Args:
        by_slice: subject, plane, lesion_voxels, and tp, fp, fn with `_before` and `_after`.
        note: Said below.
    """
    lesion = by_slice[by_slice["lesion_voxels"] > 0]
    planes = [name for name in style.PREDICTIONS if name in set(by_slice["plane"])]
    figure = style.new_figure(9.6 if len(planes) > 1 else 6.0, 2.8, space=0.03)
    for axes, plane in zip(figure.subplots(1, len(planes), squeeze=False)[0], planes, strict=True):
        rows = lesion[lesion["plane"] == plane]
        clouds.draw_scores(axes, {"before": dice(rows, "before"), "after": dice(rows, "after")},
                           {"before": _COLORS[plane], "after": _COLORS[FUSED]})  # fmt: skip
        axes.set_title(f"{plane.capitalize()}: {rows['subject'].nunique()} subjects")
        axes.set_xlabel("Dice of slices with lesion")
    style.footnote(
        figure, f"Before: the plane's own mask. After: the fused one, same slices. {clouds.SCORES}", note
    )
    return figure


def dice(by_slice: pd.DataFrame, stage: str) -> np.ndarray:
    """(n,) unsmoothed Dice of slices `before` or `after` fusion."""
    tp, fp, fn = (by_slice[f"{name}_{stage}"].to_numpy() for name in ("tp", "fp", "fn"))
    return metrics.dice(tp, fp, fn, 0.0)
