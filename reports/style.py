"""Colors, sizes and encodings that every figure shares. No pyplot: figures may be drawn in any thread."""

from __future__ import annotations

import base64
import io
import textwrap
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image

from reports import blocks

# Okabe and Ito's palette: distinct with every common kind of color blindness.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GRAY = "#0072B2", "#D55E00", "#CC79A7", "#6B7280"

# Shape goes with color, so that a figure can be read in print without color.
PREDICTIONS: dict[str, tuple[str, str]] = {
    "axial": (BLUE, "o"),
    "sagittal": (GREEN, "^"),
    "coronal": (PURPLE, "s"),
    "fused": (VERMILION, "D"),
}
TRUTH, PREDICTION = SKY, ORANGE

_SIDES = {"axial": ("L", "R"), "coronal": ("L", "R"), "sagittal": ("P", "A")}  # left and right of a picture

DPI = 160
MOST_SVG = 150_000  # bytes; a PNG of the largest chart takes about as many
_CSS_PIXELS = 105  # to an inch of a figure
_SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same text everywhere
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E7EB",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.edgecolor": GRAY,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "svg.hashsalt": "raxnet",  # the same figure gives the same bytes
}


def settings() -> Any:
    """A context, or decorator, under which figures are drawn in our style; nothing global stays changed."""
    return matplotlib.rc_context(_SETTINGS)


def new_figure(width: float, height: float, pad: float = 0.04, space: float = 0.02) -> Figure:
    """An empty figure of `width` x `height` inches with its own Agg canvas.

    Args:
        width: Inches.
        height: Inches.
        pad: Room around each panel, inches.
        space: Further room between panels, share of a panel.
    """
    layout = ConstrainedLayoutEngine(w_pad=pad, h_pad=pad, wspace=space, hspace=space)
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def plain(axes: Axes) -> None:
    """Leaves a picture without frame, ticks or grid."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def log_x(axes: Axes) -> None:
    """A logarithmic x axis with numbers that a person reads: 0.1, 1, 10."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def log_limits(axes: Axes, low: float, high: float) -> None:
    """Limits of a logarithmic x axis around `low` to `high`, both above 0, with three numbers on it at least."""
    low, high = low / 1.5, high * 1.5
    axes.set_xlim(low, high)
    decades = float(np.log10(high / low))
    subs = (1.0,) if decades > 3 else (1.0, 3.0) if decades > 1.5 else (1.0, 2.0, 3.0, 5.0, 7.0)
    axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=20))


def footnote(figure: Figure, *texts: str) -> None:
    """Small print at the lower left of a figure, broken into lines as wide as it; empty texts are left out."""
    width = int(figure.get_figwidth() * 16.5)  # characters of this size to an inch
    lines = [line for text in texts for line in textwrap.wrap(text, width)]
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7.5, color=GRAY)


def write_on(axes: Axes, x: float, y: float, text: str) -> None:
    """White text with a dark rim, readable on any gray; x and y as shares of the panel."""
    axes.text(
        x,
        y,
        text,
        color="white",
        ha="center",
        va="center",
        transform=axes.transAxes,
        fontsize=8,
        path_effects=[withStroke(linewidth=2.0, foreground="black")],
    )


def sides(axes: Axes, plane: str) -> None:
    """Writes on a slice in RAS order which way it lies."""
    for letter, x in zip(_SIDES[plane], (0.04, 0.96), strict=True):
        write_on(axes, x, 0.5, letter)


def png(figure: Figure, colors: int = 128, dpi: int = DPI) -> bytes:
    """PNG bytes with a palette of at most `colors`: a third of the size, no visible difference."""
    drawn = _pixels(figure, dpi).quantize(colors, dither=Image.Dither.NONE)
    return _packed(drawn, format="png")


def photo(figure: Figure, dpi: int) -> bytes:
    """PNG or JPEG bytes in full color, the shorter ones: PNG where voxels are large, JPEG where a scan is fine."""
    drawn = _pixels(figure, dpi)
    lossless = _packed(drawn, format="png", optimize=True)
    return min(lossless, _packed(drawn, format="jpeg", quality=88, optimize=True), key=len)


def _pixels(figure: Figure, dpi: int) -> Image.Image:
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _packed(drawn: Image.Image, **options: Any) -> bytes:
    packed = io.BytesIO()
    drawn.save(packed, **options)
    return packed.getvalue()


@settings()
def svg(figure: Figure) -> bytes:
    """SVG bytes, text as outlines, without a date: the same figure gives the same bytes."""
    raw = io.BytesIO()
    figure.savefig(raw, format="svg", metadata={"Date": None, "Creator": None})
    return raw.getvalue()


def embed(
    figure: Figure, alt: str, caption: str, vector: bool = False, dpi: int = DPI, colors: int = 128
) -> blocks.Image:
    """A figure as a part of a page; its text is as large as the page's.

    Args:
        figure: What is drawn.
        alt: What is seen, for those who cannot see it.
        caption: Below it.
        vector: SVG, sharp in print, unless it has so many marks that it would take more than `MOST_SVG` bytes.
        dpi: Of a PNG.
        colors: Of a PNG.
    """
    content = svg(figure) if vector else b""
    if not 0 < len(content) <= MOST_SVG:
        content = png(figure, colors, dpi)
    return _image(figure, content, alt, caption)


def embed_photo(figure: Figure, alt: str, caption: str, dpi: int = 110) -> blocks.Image:
    """A picture of scans as a part of a page, in full color; arguments as in `embed`."""
    return _image(figure, photo(figure, dpi), alt, caption)


def _image(figure: Figure, content: bytes, alt: str, caption: str) -> blocks.Image:
    width, height = (round(inches * _CSS_PIXELS) for inches in figure.get_size_inches())
    return blocks.Image(data_uri(content), alt, caption, width, height)


def data_uri(content: bytes) -> str:
    """The `data:` address of PNG, JPEG or SVG bytes, to be used as an image's source."""
    known = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}
    kind = next((name for start, name in known.items() if content.startswith(start)), "svg+xml")
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
