"""Lesion sizes before and after the split: rainclouds, and the counts by size category."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import ndimage

from lesions.grid import Grid
from lesions.slices import AXIS
from lesions.statistics import edges, size_category
from reports import style

MOST_DOTS = 300  # per row: more would only blacken the paper
WHOLE, HOLDOUT = "Whole", "Hold-out"
_COLORS = {WHOLE: style.GRAY, HOLDOUT: style.ORANGE}


def groups(table: pd.DataFrame, folds: pd.DataFrame) -> dict[str, np.ndarray]:
    """Sizes of the whole table, of the hold-out and of every training fold.

    Args:
        table: subject, voxels: a row per subject or slice. Rows without a lesion are left out.
        folds: subject, fold (0 = hold-out); may be empty, then only the whole is returned.

    Returns:
        "Whole", "Hold-out", "Fold 1", ... -> sizes in voxels. "Whole" is before the split.
    """
    table = table[table["voxels"] > 0]
    found = {WHOLE: table["voxels"].to_numpy()}
    if folds.empty:
        return found
    fold_of = table["subject"].map(folds.set_index("subject")["fold"])
    for fold in sorted(int(f) for f in folds["fold"].unique()):
        found[HOLDOUT if fold == 0 else f"Fold {fold}"] = table["voxels"].to_numpy()[fold_of == fold]
    return found


def category_counts(sizes: dict[str, np.ndarray], table: str, grid: Grid | None) -> pd.DataFrame:
    """How many lesions or slices of each group lie in each of the six size categories.

    Args:
        sizes: Of `groups`.
        table: "3d" or a plane: it decides the categories' edges (raxnet.md, 2).
        grid: Scales the edges, which are for 1 mm; None leaves them.

    Returns:
        A row per group: Group, n, and a column per category, each as "count (percent)".
    """
    rows = []
    for name, values in sizes.items():
        counts = np.bincount(size_category(values, table, grid), minlength=7)[1:7]
        shares = 100 * counts / max(len(values), 1)
        cells = [f"{count:,} ({share:.1f} %)" for count, share in zip(counts, shares, strict=True)]
        rows.append([name, len(values), *cells])
    return pd.DataFrame(rows, columns=["Group", "n", *category_names(table, grid)])


def size_unit(table: str, grid: Grid | None) -> tuple[float, str]:
    """What a voxel count is multiplied with, and the axis label that then holds."""
    if grid is None:
        return 1.0, "lesion volume (voxels)" if table == "3d" else "lesion size per slice (pixels)"
    if table == "3d":
        return grid.voxel_volume / 1000.0, "lesion volume per subject (mL)"
    return grid.voxel_volume / grid.spacing[AXIS[table]], "lesion area per slice (mm²)"


def category_names(table: str, grid: Grid | None) -> list[str]:
    """The six categories by their edges, in the unit of `category_unit`: "0 to 5", ..., "over 200"."""
    bounds = [f"{edge:,g}" for edge in edges(table, grid) * size_unit(table, grid)[0]]
    return [*(f"{low} to {high}" for low, high in itertools.pairwise(bounds)), f"over {bounds[-1]}"]


def category_unit(table: str, grid: Grid | None) -> str:
    """What the edges of `category_names` are in."""
    if grid is None:
        return "voxels" if table == "3d" else "pixels"
    return "mL" if table == "3d" else "mm²"


@style.settings()
def draw_sizes(sizes: dict[str, np.ndarray], table: str, grid: Grid | None) -> Figure:
    """A raincloud per group: density (upper half), box with median and 5th to 95th percentile, dots.

    Args:
        sizes: Of `groups`, in voxels.
        table: "3d" or a plane.
        grid: For the unit of the axis.
    """
    factor, label = size_unit(table, grid)
    figure = style.new_figure(7.2, 0.5 + 0.62 * len(sizes))
    axes = figure.subplots()
    style.log_x(axes)
    rng = np.random.default_rng(0)
    for row, (name, values) in enumerate(sizes.items()):
        _raincloud(axes, row, values * factor, _COLORS.get(name, style.BLUE), rng)
    for edge in edges(table, grid)[1:]:
        axes.axvline(edge * factor, color=style.GRAY, linewidth=0.7, linestyle=":", zorder=0.5)
    whole = sizes[WHOLE]
    if len(whole):
        axes.axvline(
            float(np.median(whole)) * factor, color=style.GRAY, linewidth=0.9, linestyle="--", zorder=0.5
        )
    axes.set_yticks(range(len(sizes)), [f"{name}\nn = {len(v):,}" for name, v in sizes.items()])
    axes.set_ylim(len(sizes) - 0.45, -0.6)
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(label)
    return figure


def density(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian kernel density by Scott's rule, from a fine histogram: fast for any number of values.

    Args:
        values: (n,) three or more, not all equal.

    Returns:
        (256,) places from the least to the largest value, and the density there.
    """
    counts, borders = np.histogram(values, bins=256, density=True)
    width = borders[1] - borders[0]
    sigma = values.std(ddof=1) * len(values) ** -0.2
    return (borders[:-1] + borders[1:]) / 2, ndimage.gaussian_filter1d(counts, sigma / width, mode="constant")


def _raincloud(axes: Axes, row: int, values: np.ndarray, color: str, rng: np.random.Generator) -> None:
    """Draws one group around the height `row`; heights grow downwards."""
    if not len(values):
        return
    logs = np.log10(values)
    if len(values) > 2 and logs.std() > 0:
        at, height = density(logs)
        upper = row - 0.08 - 0.42 * height / height.max()
        axes.fill_between(10**at, row - 0.08, upper, color=color, alpha=0.55, linewidth=0)
    low, first, median, third, high = np.percentile(values, [5, 25, 50, 75, 95])
    axes.plot([low, high], [row, row], color=style.BLACK, linewidth=0.9)
    axes.plot([first, third], [row, row], color=style.BLACK, linewidth=4.0, solid_capstyle="butt")
    axes.plot([median], [row], marker="|", color="white", markersize=6, markeredgewidth=1.6)
    dots = values if len(values) <= MOST_DOTS else rng.choice(values, MOST_DOTS, replace=False)
    heights = row + 0.12 + 0.22 * rng.random(len(dots))
    axes.scatter(dots, heights, s=5, color=color, alpha=0.55, linewidths=0)
