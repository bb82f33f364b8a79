"""The map of how many subjects have a lesion in each place, on the MNI152 template."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lesions.grid import Volume, resample
from lesions.slices import AXIS
from lesions.template import read_template
from reports import style
from reports.distributions import counted, share

# Panels: the upper row axial, the lower one coronal and sagittal.
_PANELS = {"axial": (0, range(6)), "coronal": (1, range(3)), "sagittal": (1, range(3, 6))}
_LEAST_OVERLAP = 0.5  # of the template's brain: a grid that covers less is not in MNI space
_LESION_SHARE = 0.98  # of all counts lies between the first and the last slice that may be shown
_BRAIN = 10.0  # least intensity of the template's brain, of 255
_MARGIN = 7.0  # mm around the brain: room for the letters


def on_template(frequency: Volume) -> np.ndarray | None:
    """The template's T1 on the grid of a frequency map, (X, Y, Z) float32; None where that is not in MNI space."""
    template = read_template("t1")
    brain = float((template.data > _BRAIN).sum()) * template.grid.voxel_volume
    moved = resample(template, frequency.grid).data
    covered = float((moved > _BRAIN).sum()) * frequency.grid.voxel_volume
    return moved if covered > _LEAST_OVERLAP * brain else None


def slice_indices(counts: np.ndarray, axis: int, most: int) -> list[int]:
    """Up to `most` slices along an axis, evenly spaced over where the lesions are.

    Args:
        counts: (X, Y, Z), not all 0.
        axis: Along which to cut.
        most: How many slices at most; fewer where the lesions reach over fewer.
    """
    mass = np.cumsum(counts.sum(axis=tuple(a for a in range(3) if a != axis), dtype=float))
    tail = (1 - _LESION_SHARE) / 2 * mass[-1]
    first, last = (int(i) for i in np.searchsorted(mass, [tail, mass[-1] - tail]))
    depth = last - first + 1
    shown = min(depth, most)
    return [int(first + (part + 0.5) * depth / shown) for part in range(shown)]


@style.settings()
def draw_frequency(frequency: Volume, background: np.ndarray, subjects: int, note: str = "") -> Figure:
    """Axial, coronal and sagittal slices of the template with the number of subjects in color.

    Args:
        frequency: Counts, in RAS order, not all 0.
        background: Of `on_template`.
        subjects: How many were counted.
        note: Said below.
    """
    counts = frequency.data
    figure = style.new_figure(9.6, 4.3, pad=0.02, space=0.01)
    panels = figure.subplots(2, 6)
    top = int(counts.max())
    # Few counts have a color each; plasma without its darkest part, which would not be seen on a brain.
    colors = ListedColormap(colormaps["plasma"](np.linspace(0.12, 1.0, min(top, 256))))
    scale = ScalarMappable(Normalize(0.5, top + 0.5), colors)
    box = _box((background > _BRAIN) | (counts > 0), frequency)
    for plane, (row, columns) in _PANELS.items():
        indices = slice_indices(counts, AXIS[plane], len(columns))
        for axes, index in zip(panels[row, list(columns)], indices, strict=False):
            _slice(axes, frequency, background, plane, index, scale)
            across, up = (limits for axis, limits in enumerate(box) if axis != AXIS[plane])
            axes.set(xlim=across, ylim=up)
        for axes in panels[row, list(columns)[len(indices) :]]:
            axes.axis("off")
    bar = figure.colorbar(scale, ax=panels, fraction=0.03, pad=0.01, aspect=30)
    bar.ax.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.0f} ({100 * v / subjects:.3g} %)"))
    bar.set_label("subjects with a lesion here")
    peak = np.unravel_index(int(counts.argmax()), counts.shape)
    x, y, z = (frequency.grid.matrix @ [*peak, 1.0])[:3]
    figure.suptitle(
        f"Lesion frequency, {counted(subjects, 'subject')}; most: {share(top, subjects)} "
        f"at x {x:.0f}, y {y:.0f}, z {z:.0f} mm",
        fontsize=9.5,
        fontweight="bold",
    )
    style.footnote(
        figure, "On the MNI152 template. The subject's left is on the left. Without color: no lesion.", note
    )
    return figure


def _box(inside: np.ndarray, frequency: Volume) -> list[tuple[float, float]]:
    """From where to where a mask reaches along each axis, mm from the volume's corner, with a margin."""
    ranges = []
    for axis, spacing in enumerate(frequency.grid.spacing):
        used = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        ranges.append((used[0] * spacing - _MARGIN, (used[-1] + 1) * spacing + _MARGIN))
    return ranges


def _slice(
    axes: Axes, frequency: Volume, background: np.ndarray, plane: str, index: int, scale: ScalarMappable
) -> None:
    axis = AXIS[plane]
    below, counts = np.take(background, index, axis), np.take(frequency.data, index, axis)
    width, height = (s for a, s in enumerate(frequency.grid.spacing) if a != axis)
    where: dict[str, Any] = {
        "origin": "lower",
        "extent": (0, below.shape[0] * width, 0, below.shape[1] * height),
    }
    axes.imshow(below.T, cmap="gray", vmin=0, vmax=255, interpolation="nearest", **where)
    shown = np.ma.masked_equal(counts, 0)
    axes.imshow(shown.T, cmap=scale.cmap, norm=scale.norm, interpolation="nearest", **where)
    axes.set_facecolor("black")
    style.plain(axes)
    center = [(n - 1) / 2 for n in frequency.grid.shape]
    center[axis] = index
    position = (frequency.grid.matrix @ [*center, 1.0])[axis]
    axes.set_title(f"{'xyz'[axis]} = {position:.0f} mm", fontsize=8.5, fontweight="normal")
    style.sides(axes, plane)
