"""Rainclouds of lesion sizes: the whole with its size categories, before and after the split, fold by fold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lesions.grid import Grid
from lesions.statistics import edges
from reports import style
from reports.clouds import (
    LEAST_BOX,
    LEAST_CLOUD,
    MOST_DOTS,
    density,
    draw_box_and_dots,
    draw_cloud,
    draw_outline,
    has_density,
    scott,
)
from reports.distributions import (
    HOLDOUT,
    WHOLE,
    category_names,
    category_sizes,
    category_unit,
    groups,
    halves,
    part_name,
    rows_name,
    share,
    size_unit,
    table_name,
)

LEGEND = (
    "Cloud: density of the logarithm of the size. Bar: quartiles, median in white; thin line: 5th to 95th percentile. "
    f"Dots: {MOST_DOTS} sizes at most, drawn at random. Fewer than {LEAST_CLOUD} sizes have no cloud, fewer than "
    f"{LEAST_BOX} no bar. Dashed: median of the whole. Dotted: edges of size categories."
)
AGAINST = (
    "TV, KS, MWU p: sizes of a fold against those of the other folds, of the hold-out against all folds. "
    "Line on a cloud: density of the whole."
)
_COLORS = {WHOLE: style.GRAY, HOLDOUT: style.ORANGE}


@style.settings()
def draw_sizes(sizes: np.ndarray, table: str, grid: Grid | None, note: str = "") -> Figure:
    """The sizes of a whole table: raincloud on the left, counts by size category on the right.

    Args:
        sizes: (n,) voxels, above 0.
        table: "3d" or a plane.
        grid: For the unit of the axis.
        note: Said below, such as that the scans are phantoms.
    """
    figure = style.new_figure(9.6, 3.0, space=0.04)
    cloud, bars = figure.subplots(1, 2, width_ratios=[1.75, 1])
    _clouds(cloud, {WHOLE: sizes}, table, grid)
    cloud.set_title(f"{table_name(table)}: {rows_name(table, len(sizes))}")
    _category_bars(bars, sizes, table, grid)
    style.footnote(figure, LEGEND, note)
    return figure


@style.settings()
def draw_split(
    tables: Mapping[str, pd.DataFrame],
    folds: pd.DataFrame,
    quality: pd.DataFrame,
    grid: Grid | None,
    note: str = "",
) -> Figure:
    """Sizes before the split (whole) and after it (training, hold-out), a panel for each table.

    Args:
        tables: "3d" or a plane -> subject, voxels.
        folds: subject, fold (0 = hold-out).
        quality: Of `lesions.folds.quality`; may be empty.
        grid: For the units.
        note: Said below.
    """
    columns = min(len(tables), 2)
    rows = -(-len(tables) // columns)
    figure = style.new_figure(4.8 * columns if columns > 1 else 7.2, 0.6 + 2.35 * rows, space=0.05)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (table, frame) in zip(panels, tables.items(), strict=False):
        _clouds(axes, halves(groups(frame, folds)), table, grid)
        figures = _measured(quality, table, 0)
        axes.set_title(f"{table_name(table)}: {rows_name(table, len(frame))}", loc="left", pad=17)
        if figures:
            said = "hold-out and training: TV {}, KS {}, MWU p {}".format(*figures)
            axes.text(0.0, 1.02, said, transform=axes.transAxes, fontsize=8, color=style.GRAY, va="bottom")
    for axes in panels[len(tables) :]:
        axes.remove()
    style.footnote(figure, LEGEND, note)
    return figure


@style.settings()
def draw_folds(
    frame: pd.DataFrame,
    table: str,
    folds: pd.DataFrame,
    quality: pd.DataFrame,
    grid: Grid | None,
    note: str = "",
) -> Figure:
    """Every fold and the hold-out against the whole, with the measures of `lesions.folds.quality` beside them.

    Args:
        frame: subject, voxels: a row per subject or slice.
        table: "3d" or a plane.
        folds: subject, fold (0 = hold-out).
        quality: Of `lesions.folds.quality`; may be empty.
        grid: For the unit.
        note: Said below.
    """
    sizes = groups(frame, folds)
    figure = style.new_figure(9.6, 1.15 + 0.55 * len(sizes))
    axes = figure.subplots()
    _clouds(axes, sizes, table, grid, outline=True)
    place = axes.get_yaxis_transform()
    heads = ("TV", "KS", "MWU p")
    for column, head in enumerate(heads):
        axes.text(
            1.04 + 0.075 * column, -0.75, head, transform=place, ha="center", va="bottom", weight="bold"
        )
    for fold in sorted(int(f) for f in folds["fold"].unique()):
        row = list(sizes).index(part_name(fold))
        for column, text in enumerate(_measured(quality, table, fold) or ()):
            axes.text(1.04 + 0.075 * column, row, text, transform=place, ha="center", va="center")
    axes.set_title(f"{table_name(table)}: {rows_name(table, len(sizes[WHOLE]))}, by part of the split")
    style.footnote(figure, LEGEND, AGAINST, note)
    return figure


def _clouds(
    axes: Axes, sizes: dict[str, np.ndarray], table: str, grid: Grid | None, outline: bool = False
) -> None:
    """A raincloud per group from the top down, with lines at the median of the whole and the categories' edges."""
    factor, label = size_unit(table, grid)
    whole = sizes[WHOLE] * factor
    _size_axis(axes, whole, label)
    rng = np.random.default_rng(0)
    logs = {name: np.log10(values * factor) for name, values in sizes.items() if has_density(values)}
    # One bandwidth and one scale for all groups: clouds differ by the data alone.
    bandwidth = max((scott(values) for values in logs.values()), default=0.0)
    clouds = {name: density(values, bandwidth) for name, values in logs.items()}
    highest = max((height.max() for _, height in clouds.values()), default=1.0)
    for row, (name, values) in enumerate(sizes.items()):
        color = _COLORS.get(name, style.BLUE)
        if name in clouds:
            at, height = clouds[name]
            draw_cloud(axes, row, 10**at, height / highest, color)
        if outline and row and WHOLE in clouds:
            at, height = clouds[WHOLE]
            draw_outline(axes, row, 10**at, height / highest)
        draw_box_and_dots(axes, row, values * factor, color, rng)
    for edge in edges(table, grid)[1:]:
        axes.axvline(edge * factor, color=style.GRAY, linewidth=0.7, linestyle=":", zorder=0.5)
    if len(whole):
        median = float(np.median(whole))
        axes.axvline(median, color=style.GRAY, linewidth=0.9, linestyle="--", zorder=0.5)
    axes.set_yticks(range(len(sizes)), [f"{name}\nn = {len(v):,}" for name, v in sizes.items()])
    axes.set_ylim(len(sizes) - 0.45, -0.62)
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)


def _size_axis(axes: Axes, values: np.ndarray, label: str) -> None:
    style.log_x(axes)
    if len(values):
        style.log_limits(axes, float(values.min()), float(values.max()))
    axes.set_xlabel(label)


def _category_bars(axes: Axes, sizes: np.ndarray, table: str, grid: Grid | None) -> None:
    """How many sizes lie in each category: a bar each, with number and share."""
    counts = category_sizes(sizes, table, grid)
    axes.barh(range(len(counts)), counts, color=style.SKY, height=0.72)
    for row, count in enumerate(counts):
        axes.annotate(
            share(int(count), len(sizes)), (count, row), (4, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(counts)), category_names(table, grid))
    axes.set_ylim(len(counts) - 0.5, -0.5)
    axes.set_xlim(0, 1.5 * max(int(counts.max()), 1))  # room for the numbers
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)
    axes.set_title(f"by size category ({category_unit(table, grid)})")


def _measured(quality: pd.DataFrame, table: str, fold: int) -> tuple[str, ...] | None:
    """TV, KS and MWU p of a fold as texts; None where they were not measured."""
    if quality.empty:
        return None
    rows = quality[(quality["table"] == table) & (quality["fold"] == fold)]
    if rows.empty:
        return None
    row = rows.iloc[0]
    return tuple(
        "-" if pd.isna(value) else f"{value:.{digits}f}"
        for value, digits in ((row["tv"], 4), (row["ks"], 4), (row["mwu_p"], 3))
    )
