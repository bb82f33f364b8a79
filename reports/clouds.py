"""What rainclouds are drawn of: densities, quartiles, dots; and rainclouds of scores from 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from scipy import ndimage

from reports import style

MOST_DOTS = 300  # per row: more would only blacken the paper
MOST_LARGE = 50  # dots that are drawn large
LEAST_BOX, LEAST_CLOUD = 5, 10  # of fewer values a box or a density would say more than is known
SCORES = (
    "Cloud: density, without values of exactly 0, whose share is written. Bar: quartiles, median in white; thin "
    f"line: 5th to 95th percentile; diamond: mean. Dots: {MOST_DOTS} values at most, drawn at random. Fewer than "
    f"{LEAST_CLOUD} values have no cloud, fewer than {LEAST_BOX} no bar."
)
_BASE, _HEIGHT = 0.08, 0.42  # of a cloud: from the middle of its row, upwards


def density(
    values: np.ndarray, bandwidth: float, limits: tuple[float, float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian kernel density from a fine histogram: fast for any number of values.

    Args:
        values: (n,) not all equal.
        bandwidth: Standard deviation of the kernel, such as `scott`'s.
        limits: Where values end by nature: what would lie beyond is mirrored. None: from the least to the largest.

    Returns:
        (256,) places over the range, and the density there.
    """
    counts, borders = np.histogram(values, bins=256, range=limits, density=True)
    width = borders[1] - borders[0]
    mode = "constant" if limits is None else "reflect"
    smooth = ndimage.gaussian_filter1d(counts, bandwidth / width, mode=mode)
    return (borders[:-1] + borders[1:]) / 2, smooth


def scott(values: np.ndarray) -> float:
    """Scott's bandwidth of (n,) values: their standard deviation x n^(-1/5)."""
    return float(values.std(ddof=1) * len(values) ** -0.2)


def has_density(values: np.ndarray) -> bool:
    """Whether a density says something of (n,) values."""
    return len(values) >= LEAST_CLOUD and bool(values.min() < values.max())


def draw_cloud(axes: Axes, row: int, at: np.ndarray, share: np.ndarray, color: str) -> None:
    """A density above the row; heights grow downwards.

    Args:
        axes: Where.
        row: Middle of the row.
        at: (n,) places.
        share: (n,) the density there, 1 the highest of the figure.
        color: Of the cloud.
    """
    axes.fill_between(at, row - _BASE, row - _BASE - _HEIGHT * share, color=color, alpha=0.55, linewidth=0)


def draw_outline(axes: Axes, row: int, at: np.ndarray, share: np.ndarray) -> None:
    """A density as a line, for comparison with the cloud of the row."""
    axes.plot(at, row - _BASE - _HEIGHT * share, color=style.BLACK, linewidth=0.7)


def draw_box_and_dots(axes: Axes, row: int, values: np.ndarray, color: str, rng: np.random.Generator) -> None:
    """Quartiles on the row, values below it."""
    if len(values) >= LEAST_BOX:
        low, first, median, third, high = np.percentile(values, [5, 25, 50, 75, 95])
        axes.plot([low, high], [row, row], color=style.BLACK, linewidth=0.9)
        axes.plot([first, third], [row, row], color=style.BLACK, linewidth=4.0, solid_capstyle="butt")
        axes.plot([median], [row], marker="|", color="white", markersize=6, markeredgewidth=1.6)
    dots = values if len(values) <= MOST_DOTS else rng.choice(values, MOST_DOTS, replace=False)
    heights = row + 0.12 + 0.22 * rng.random(len(dots))
    size = 18 if len(dots) < LEAST_CLOUD else 12 if len(dots) < MOST_LARGE else 5
    alpha = 0.8 if len(dots) < MOST_LARGE else 0.55
    axes.scatter(dots, heights, s=size, color=color, alpha=alpha, linewidths=0)


def draw_scores(axes: Axes, groups: Mapping[str, np.ndarray], colors: Mapping[str, str]) -> None:
    """A raincloud per group of scores, from the top down, with their mean and the share of zeros.

    Args:
        axes: Get an axis from 0 to 1, and the groups' names with n.
        groups: Name -> (n,) scores, 0 to 1, without NaN.
        colors: Name -> color; blue where not given.
    """
    rng = np.random.default_rng(0)
    # One bandwidth and one scale for all groups: clouds differ by the data alone.
    some = {name: values[values > 0] for name, values in groups.items() if has_density(values[values > 0])}
    bandwidth = max((scott(values) for values in some.values()), default=0.0)
    clouds = {name: density(values, bandwidth, (0.0, 1.0)) for name, values in some.items()}
    shares = {name: len(some[name]) / len(groups[name]) for name in clouds}
    highest = max((shares[name] * height.max() for name, (_, height) in clouds.items()), default=1.0)
    for row, (name, values) in enumerate(groups.items()):
        color = colors.get(name, style.BLUE)
        if name in clouds:
            at, height = clouds[name]
            draw_cloud(axes, row, at, shares[name] * height / highest, color)
            if shares[name] < 1:
                zeros = f"{100 * (1 - shares[name]):.0f} %\nare 0"
                axes.text(1.03, row - 0.08, zeros, va="bottom", fontsize=7.5, color=style.GRAY)
        draw_box_and_dots(axes, row, values, color, rng)
        if len(values):
            axes.plot([values.mean()], [row], "D", color=style.VERMILION, markersize=4.5)
    axes.set_yticks(range(len(groups)), [f"{name}\nn = {len(v):,}" for name, v in groups.items()])
    axes.set_ylim(len(groups) - 0.45, -0.65)
    axes.set_xlim(-0.02, 1.02)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
