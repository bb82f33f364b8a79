"""Scores of the hold-out: summaries, and every subject's Dice by lesion volume."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lesions.grid import Grid
from lesions.metrics import summarize
from lesions.statistics import size_category
from reports import style
from reports.distributions import category_names, size_unit


def predictions(holdout: pd.DataFrame) -> list[str]:
    """The predictions that were scored: planes in their usual order, fused last."""
    found = set(holdout["prediction"]) if len(holdout) else set()
    return [name for name in style.PREDICTIONS if name in found]


def summary(holdout: pd.DataFrame, grid: Grid | None) -> pd.DataFrame:
    """A row per prediction, each figure over all its subjects, with their number.

    Args:
        holdout: Of `RunReport`.
        grid: Turns the volume difference into milliliters; None leaves voxels.

    Returns:
        Prediction, n, Dice mean, sd, median, q1, q3, mean recall, mean precision, median volume difference.
    """
    factor, unit = (1.0, "voxels") if grid is None else (grid.voxel_volume / 1000.0, "mL")
    rows = []
    for name in predictions(holdout):
        rows_of = holdout[holdout["prediction"] == name]
        dice = summarize(rows_of["dice"].to_numpy())
        rows.append(
            {
                "Prediction": name,
                "n": int(dice["n"]),
                "Dice mean": dice["mean"],
                "sd": dice["sd"],
                "median": dice["median"],
                "q1": dice["q1"],
                "q3": dice["q3"],
                "Recall mean": rows_of["recall"].mean(),
                "Precision mean": rows_of["precision"].mean(),
                f"|Volume difference| median, {unit}": rows_of["volume_difference"].abs().median() * factor,
            }
        )
    return pd.DataFrame(rows)


def by_category(holdout: pd.DataFrame, grid: Grid | None) -> pd.DataFrame:
    """Mean Dice by size category of the true lesion volume, with n: a row per category that occurs."""
    if holdout.empty:
        return pd.DataFrame()
    names = category_names("3d", grid)
    category = size_category(holdout["lesion_voxels"].to_numpy(), "3d", grid)
    rows = []
    for number in sorted(set(category)):
        part = holdout[category == number]
        means = {
            f"{p} Dice mean": part.loc[part["prediction"] == p, "dice"].mean() for p in predictions(holdout)
        }
        name = "no lesion" if number == 0 else names[number - 1]
        rows.append({"Size category": name, "n": part["subject"].nunique(), **means})
    return pd.DataFrame(rows)


@style.settings()
def draw_dice(holdout: pd.DataFrame, grid: Grid | None) -> Figure:
    """Left, each subject's Dice by true lesion volume; right, the spread of each prediction's Dice.

    Args:
        holdout: Of `RunReport`. Subjects without a lesion have no place on the left (logarithmic axis).
        grid: For the unit of the volume.
    """
    figure = style.new_figure(7.6, 3.5)
    left, right = figure.subplots(1, 2, width_ratios=(2.1, 1), sharey=True)
    factor, _ = size_unit("3d", grid)
    _by_volume(left, holdout[holdout["lesion_voxels"] > 0], factor)
    left.set_xlabel(f"true lesion volume ({'voxels' if grid is None else 'mL'})")
    left.set_ylabel("3-D Dice")
    left.set_ylim(-0.03, 1.03)
    _spread(right, holdout)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _by_volume(axes: Axes, holdout: pd.DataFrame, factor: float) -> None:
    style.log_x(axes)
    for _, rows in holdout.groupby("subject"):
        x = float(rows["lesion_voxels"].iloc[0]) * factor
        axes.plot([x, x], [rows["dice"].min(), rows["dice"].max()], color="#D1D5DB", linewidth=1.0, zorder=1)
    for name in predictions(holdout):
        color, marker = style.PREDICTIONS[name]
        rows = holdout[holdout["prediction"] == name]
        axes.scatter(
            rows["lesion_voxels"] * factor,
            rows["dice"],
            s=34 if name == "fused" else 20,
            marker=marker,
            color=color,
            edgecolor="white",
            linewidth=0.5,
            zorder=3 if name == "fused" else 2,
            label=name,
        )


def _spread(axes: Axes, holdout: pd.DataFrame) -> None:
    """Dots, quartiles as a bar, the median as a white line, the mean as a black diamond."""
    names = predictions(holdout)
    rng = np.random.default_rng(0)
    for place, name in enumerate(names):
        color, marker = style.PREDICTIONS[name]
        values = holdout.loc[holdout["prediction"] == name, "dice"].dropna().to_numpy()
        if not len(values):
            continue
        dots = place + 0.12 + 0.2 * rng.random(len(values))
        axes.scatter(dots, values, s=10, marker=marker, color=color, alpha=0.7, linewidths=0)
        first, median, third = np.percentile(values, [25, 50, 75])
        axes.plot([place - 0.1] * 2, [first, third], color=color, linewidth=9, solid_capstyle="butt")
        axes.plot([place - 0.2, place], [median, median], color="white", linewidth=1.6)
        axes.plot([place - 0.1], [values.mean()], "D", color=style.BLACK, markersize=4)
    counts = holdout.groupby("prediction")["dice"].count()
    axes.set_xticks(range(len(names)), [f"{name}\nn = {counts[name]}" for name in names])
    axes.tick_params(axis="x", labelsize=7.5, length=0)
    axes.grid(visible=False, axis="x")
