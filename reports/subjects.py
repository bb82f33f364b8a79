"""Pictures of one subject: the scan with truth, prediction and the planes' disagreement, in three planes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from lesions.grid import Volume
from lesions.slices import AXIS, PLANES
from reports import style
from reports.cuts import Cut, Frame, close_up, cuts, head, outline, window

LEAST_SHOWN = 0.05  # of the disagreement: below it the scan is seen


@style.settings()
def draw_case(
    image: Volume, truth: np.ndarray | None, prediction: np.ndarray, disagreement: np.ndarray | None
) -> Figure:
    """A row per plane: the whole slice, then close-ups of scan, truth, prediction and the planes' disagreement.

    Args:
        image: The scan, in RAS order.
        truth: (X, Y, Z) mask on its grid; None leaves its column out.
        prediction: (X, Y, Z) mask on its grid.
        disagreement: (X, Y, Z) on its grid, 0 to 1; None leaves its column out.
    """
    columns = 5 - (truth is None) - (disagreement is None)
    figure = style.new_figure(2.05 * columns + 0.3, 6.6, pad=0.02, space=0.01)
    axes = figure.subplots(len(PLANES), columns)
    limits, heat = window(image.data), _heat_scale()
    shown = np.zeros_like(prediction) if truth is None else truth
    for row, cut in enumerate(cuts(image, shown, prediction, disagreement)):
        frame = close_up(cut)
        _show(axes[row, 0], cut, limits, head(cut))
        axes[row, 0].add_patch(_box(frame))
        style.sides(axes[row, 0], cut.plane)
        axes[row, 0].set_ylabel(f"{cut.plane}, {'xyz'[AXIS[cut.plane]]} = {cut.position:.0f} mm")
        for panel in axes[row, 1:]:
            _show(panel, cut, limits, frame)
        _scale_bar(axes[row, 1], frame)
        if truth is not None:
            _fill(axes[row, 2], cut, cut.truth, style.TRUTH)
        _fill(axes[row, 2 if truth is None else 3], cut, cut.prediction, style.PREDICTION)
        if cut.disagreement is not None:
            _heat(axes[row, -1], cut, heat)
    heads = ["scan", "close-up", "truth", "prediction (fused)", "disagreement of planes"]
    if truth is None:
        heads.remove("truth")
    for panel, text in zip(axes[0], heads, strict=False):
        panel.set_title(text)
    if disagreement is not None:
        bar = figure.colorbar(heat, ax=axes[:, -1], location="right", fraction=0.04, pad=0.02, aspect=40)
        bar.set_label("largest less smallest probability")
    return figure


@style.settings()
def draw_subject(image: Volume, truth: np.ndarray, prediction: np.ndarray) -> Figure:
    """Three columns (axial, sagittal, coronal), three rows: whole slice, close-up, close-up with outlines.

    Args:
        image: The scan, in RAS order.
        truth: (X, Y, Z) mask on its grid.
        prediction: (X, Y, Z) mask on its grid.
    """
    figure = style.new_figure(6.6, 7.2, pad=0.02, space=0.01)
    axes = figure.subplots(3, 3)
    limits = window(image.data)
    for column, cut in enumerate(cuts(image, truth, prediction)):
        frame = close_up(cut)
        _show(axes[0, column], cut, limits, head(cut))
        _outlines(axes[0, column], cut, 0.55)
        axes[0, column].add_patch(_box(frame))
        axes[0, column].set_title(f"{cut.plane}, {'xyz'[AXIS[cut.plane]]} = {cut.position:.0f} mm")
        style.sides(axes[0, column], cut.plane)
        _show(axes[1, column], cut, limits, frame)
        _scale_bar(axes[1, column], frame)
        _show(axes[2, column], cut, limits, frame)
        _outlines(axes[2, column], cut, 1.0)
    _legend(figure)
    for row, label in enumerate(("whole slice", "close-up", "close-up, outlines")):
        axes[row, 0].set_ylabel(label)
    return figure


def _show(axes: Axes, cut: Cut, limits: tuple[float, float], frame: Frame) -> None:
    axes.imshow(cut.image.T, cmap="gray", vmin=limits[0], vmax=limits[1], **_place(cut))
    axes.set_xlim(frame[:2])
    axes.set_ylim(frame[2:])
    axes.set_facecolor("black")
    style.plain(axes)


def _outlines(axes: Axes, cut: Cut, scale: float) -> None:
    """Truth wide, prediction narrow and on top: both are seen where they coincide."""
    for mask, color, width in (
        (cut.truth, style.TRUTH, 2.8 * scale),
        (cut.prediction, style.PREDICTION, 1.2 * scale),
    ):
        _outline(axes, cut, mask, color, width)


def _outline(axes: Axes, cut: Cut, mask: np.ndarray, color: str, width: float) -> None:
    lines = outline(mask) * np.array(cut.spacing)
    axes.add_collection(LineCollection(list(lines), colors=color, linewidths=width, capstyle="round"))


def _legend(figure: Figure) -> None:
    lines = [
        Line2D([], [], color=style.TRUTH, linewidth=3.4, label="truth"),
        Line2D([], [], color=style.PREDICTION, linewidth=1.6, label="prediction (fused)"),
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=2)


def _box(frame: Frame) -> Rectangle:
    left, right, bottom, top = frame
    return Rectangle((left, bottom), right - left, top - bottom, fill=False, edgecolor="white", linewidth=0.7)


def _scale_bar(axes: Axes, frame: Frame) -> None:
    length = 20.0 / (frame[1] - frame[0])
    rim = [withStroke(linewidth=4.0, foreground="black")]
    ends = ([0.05, 0.05 + length], [0.06, 0.06])
    axes.plot(*ends, color="white", linewidth=2.0, transform=axes.transAxes, path_effects=rim)
    style.write_on(axes, 0.05 + length / 2, 0.11, "20 mm")


def _fill(axes: Axes, cut: Cut, mask: np.ndarray, color: str) -> None:
    """A mask as a tint with its outline: the tissue below stays visible."""
    tint = np.zeros((*mask.T.shape, 4))
    tint[mask.T] = (*to_rgb(color), 0.35)
    axes.imshow(tint, **_place(cut))
    _outline(axes, cut, mask, color, 1.8)


def _heat_scale() -> ScalarMappable:
    """Plasma without its darkest part, which would not be seen on a brain."""
    return ScalarMappable(Normalize(0, 1), ListedColormap(colormaps["plasma"](np.linspace(0.12, 1.0, 256))))


def _heat(axes: Axes, cut: Cut, heat: ScalarMappable) -> None:
    """The planes' disagreement over the scan, with the outline of the prediction."""
    apart = np.ma.masked_less(cut.disagreement, LEAST_SHOWN)
    axes.imshow(apart.T, cmap=heat.cmap, norm=heat.norm, **_place(cut))
    _outline(axes, cut, cut.prediction, "white", 0.8)


def _place(cut: Cut) -> dict[str, Any]:
    width, height = np.array(cut.image.shape) * cut.spacing
    return {"origin": "lower", "extent": (0, width, 0, height), "interpolation": "nearest"}
