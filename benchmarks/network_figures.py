"""Draws docs/networks/*.svg from the built networks and prints the tables of docs/networks.md.

python benchmarks/network_figures.py [FOLDER]
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
from keras import layers
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

from reports import style
from trainer import cost, networks

SIZE = (208, 240)  # an axial slice of ATLAS on its canvas
SIZES = {"axial": (208, 240), "sagittal": (240, 208), "coronal": (208, 208)}
TITLES = {"raxnet": "RAX-Net", "dunet": "D-UNet", "clcinet": "CLCI-Net", "xnet": "X-Net"}
# Groups of layers that are drawn as one stage; otherwise layers whose names begin alike are a stage.
JOINED = {
    "clcinet": {f"{part}{n}": f"fuse{n}" for part in "sx" for n in (1, 2, 3, 4)}
    | dict.fromkeys(("strided", "point", "dilated", "whole", "merge"), "pyramid"),
    "xnet": {f"u{n}": f"d{n}" for n in (1, 2, 3, 4)},
}
KINDS = {
    layers.Conv2D: "conv",
    layers.Conv3D: "conv",
    layers.Conv2DTranspose: "transposed",
    layers.SeparableConv2D: "separable",
    layers.DepthwiseConv2D: "depthwise",
    layers.ConvLSTM2D: "ConvLSTM",
}
WIDTH, HEIGHT, COLUMN, ROW = 2.56, 0.52, 1.4, 0.68  # inches: of a stage, and from one to the next
ENCODER, DECODER, OTHER = "#DCEBF7", "#FDEBD0", "#E8E8EC"


@dataclass
class Stage:
    """Some layers in a row: their parameters, what they end in, and the stages that they read."""

    name: str
    layers: list[layers.Layer] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)

    @property
    def parameters(self) -> int:
        """Of all its layers."""
        return sum(layer.count_params() for layer in self.layers)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what comes out, without the batch."""
        return tuple(self.layers[-1].output.shape[1:])

    @property
    def level(self) -> int:
        """How often the size has been halved."""
        return round(math.log2(SIZE[0] / self.shape[0]))

    def kinds(self) -> str:
        """What is inside, kind by kind."""
        found: Counter[str] = Counter()
        for layer in self.layers:
            if type(layer) in KINDS:
                found[f"{KINDS[type(layer)]} {'×'.join(map(str, layer.kernel_size))}"] += 1
        return ", ".join(f"{count} {kind}" if count > 1 else kind for kind, count in found.items())


def stages(model: keras.Model) -> dict[str, Stage]:
    """The stages of a built network in order."""
    found: dict[str, Stage] = {}
    of_layer = {}
    for layer in model.layers:
        name = layer.name.split("_")[0]
        name = JOINED.get(model.name, {}).get(name, name)
        of_layer[layer.name] = name
        stage = found.setdefault(name, Stage(name))
        stage.layers.append(layer)
        given = layer.input if isinstance(layer.input, list) else [layer.input]
        for tensor in given if not isinstance(layer, layers.InputLayer) else []:
            source = of_layer[tensor._keras_history.operation.name]
            if source != name and source not in stage.inputs:
                stage.inputs.append(source)
    return found


def places(found: dict[str, Stage]) -> dict[str, tuple[int, int]]:
    """Column: how often the size was halved, a branch of volumes left of all; row: the order, one stage each."""
    depth: dict[str, int] = {}
    for stage in found.values():
        depth[stage.name] = max((depth[source] + 1 for source in stage.inputs), default=0)
    order = sorted(found.values(), key=lambda stage: (depth[stage.name], stage.level, len(stage.shape)))
    return {
        stage.name: (-1 if len(stage.shape) == 4 else stage.level, row) for row, stage in enumerate(order)
    }


def draw(model: keras.Model) -> Any:
    """A figure of a network: the stages in order from top to bottom, each halving of the size further right."""
    found = stages(model)
    at = places(found)
    first, last = min(column for column, _ in at.values()), max(column for column, _ in at.values())
    wide, high = (last - first) * COLUMN + WIDTH + 0.2, len(found) * ROW + 0.35
    figure = style.new_figure(wide, high + 0.5, pad=0.02)
    axes = figure.subplots()
    axes.set(xlim=(0, wide), ylim=(-high, 0), aspect="equal")
    style.plain(axes)
    centers = {
        name: (0.1 + WIDTH / 2 + (column - first) * COLUMN, -0.35 - ROW * (row + 0.5))
        for name, (column, row) in at.items()
    }
    for level in range(last + 1):
        x = 0.1 + WIDTH / 2 + (level - first) * COLUMN
        axes.text(
            x, -0.16, f"{SIZE[0] >> level} × {SIZE[1] >> level}", ha="center", fontsize=8.5, color=style.GRAY
        )
        axes.plot([x, x], [-0.35, -high], color="#E5E7EB", lw=0.8, ls=":", zorder=0)
    for stage in found.values():
        for source in stage.inputs:
            arrow(axes, centers, source, stage.name)
        box(axes, stage, *centers[stage.name])
    giga = 2e-9 * cost.macs(model)
    axes.set_title(
        f"{TITLES.get(model.name, model.name)}: {model.count_params():,} parameters, {giga:.2f} GFLOPs a slice",
        loc="left",
        fontsize=11,
    )
    return figure


def arrow(axes: Axes, centers: dict[str, tuple[float, float]], source: str, target: str) -> None:
    """Down the source's column and then across, or, where a stage is in the way, across and then down."""
    (x0, y0), (x1, y1) = centers[source], centers[target]
    blocked = any(x == x0 and y0 > y > y1 for x, y in centers.values())
    if blocked or x0 == x1:
        corner, tip = (x1, y0), (x1, y1 + HEIGHT / 2)
    else:
        corner, tip = (x0, y1), (x1 - math.copysign(WIDTH / 2, x1 - x0), y1)
    line = {"color": style.GRAY, "lw": 1.1}
    axes.plot([x0, corner[0]], [y0, corner[1]], zorder=1, solid_capstyle="round", **line)
    axes.annotate(
        "", tip, corner, arrowprops=line | {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0}, zorder=1
    )


def box(axes: Axes, stage: Stage, x: float, y: float) -> None:
    """A stage: name and parameters, what comes out, the layers with weights."""
    color = DECODER if stage.name[0] == "d" else OTHER if stage.name in ("image", "probability") else ENCODER
    left, right, top = x - WIDTH / 2 + 0.07, x + WIDTH / 2 - 0.07, y + HEIGHT / 2 - 0.06
    frame = FancyBboxPatch(
        (x - WIDTH / 2 + 0.03, y - HEIGHT / 2 + 0.03),
        WIDTH - 0.06,
        HEIGHT - 0.06,
        boxstyle="round,pad=0.03",
        facecolor=color,
        edgecolor=style.GRAY,
        lw=0.8,
        zorder=2,
    )
    axes.add_patch(frame)
    shape = " × ".join(map(str, stage.shape))
    axes.text(left, top, stage.name, ha="left", va="top", fontsize=8.5, weight="bold", zorder=3)
    axes.text(right, top, shape, ha="right", va="top", fontsize=8, zorder=3)
    if stage.parameters:
        text = f"{stage.kinds()}\n{stage.parameters:,} parameters"
        axes.text(left, top - 0.15, text, ha="left", va="top", fontsize=6.8, linespacing=1.2, zorder=3)


def draw_separable(layer: layers.SeparableConv2D) -> Any:
    """A separable convolution of a built network beside the plain one that it stands for."""
    depthwise, pointwise, bias = (tuple(weight.shape) for weight in layer.weights)
    rows, columns, given, _ = depthwise
    made = pointwise[-1]
    figure = style.new_figure(8.6, 2.9, pad=0.02)
    axes = figure.subplots()
    axes.set(xlim=(0, 8.6), ylim=(0, 2.45), aspect="equal")
    style.plain(axes)
    count = {
        name: math.prod(shape) for name, shape in (("depth", depthwise), ("point", pointwise), ("bias", bias))
    }
    for x, label in ((0.75, f"{given} channels"), (4.1, f"{given} channels"), (7.45, f"{made} channels")):
        for plane in range(4):
            corner = (x - 0.5 + 0.1 * plane, 0.95 + 0.1 * plane)
            axes.add_patch(Rectangle(corner, 0.8, 0.8, facecolor=ENCODER, edgecolor=style.GRAY, lw=0.8))
        axes.text(x + 0.05, 0.72, label, ha="center", va="top", fontsize=9)
    steps = (
        (2.45, rows, f"{rows} × {columns} depthwise", f"each channel its own\n{count['depth']:,} weights"),
        (
            5.8,
            1,
            "1 × 1 pointwise",
            f"mixes the channels\n{count['point']:,} weights, {count['bias']} biases",
        ),
    )
    for x, cells, title, text in steps:
        axes.annotate(
            "", (x + 0.95, 1.5), (x - 0.85, 1.5), arrowprops={"arrowstyle": "-|>", "color": style.GRAY}
        )
        for i in range(cells):
            for j in range(cells):
                corner = (x - 0.11 * cells + 0.22 * j, 1.5 - 0.11 * cells + 0.22 * i)
                axes.add_patch(
                    Rectangle(corner, 0.22, 0.22, facecolor=DECODER, edgecolor=style.GRAY, lw=0.8, zorder=3)
                )
        axes.text(x, 1.95, title, ha="center", va="bottom", fontsize=9.5, weight="bold")
        axes.text(x, 1.06, text, ha="center", va="top", fontsize=8.5)
    plain = rows * columns * given * made + made
    axes.text(
        4.3,
        0.08,
        f"{layer.name}: {layer.count_params():,} parameters; a plain {rows} × {columns} convolution of "
        f"{given} to {made} channels has {plain:,}",
        ha="center",
        va="bottom",
        fontsize=9,
    )
    axes.set_title("Separable convolution", loc="left", fontsize=11)
    return figure


def planned(name: str, size: tuple[int, int]) -> keras.Model:
    """A network without its numbers: shapes are all that is asked of it."""
    with keras.StatelessScope(initialize_variables=False):
        made = networks.build(name, *size)
    keras.utils.clear_session(free_memory=False)  # else Keras makes these numbers with the next network's
    return made


def table() -> str:
    """Parameters and cost of each network, as Markdown."""
    rows = [
        "| network | parameters | trainable | GFLOPs axial | sagittal | coronal |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted(networks.NETWORKS, key=lambda name: name != "raxnet"):
        built = {plane: planned(name, size) for plane, size in SIZES.items()}
        axial = built["axial"]
        trainable = sum(math.prod(v.shape) for v in axial.trainable_variables)
        giga = " | ".join(f"{2e-9 * cost.macs(one):.2f}" for one in built.values())
        rows.append(f"| {TITLES.get(name, name)} | {axial.count_params():,} | {trainable:,} | {giga} |")
    return "\n".join(rows)


@style.settings()
def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in networks.NETWORKS:
        model = planned(name, SIZE)
        (folder / f"{name}.svg").write_bytes(style.svg(draw(model)))
        if name == "raxnet":
            drawn = draw_separable(model.get_layer("e128_2_sepconv"))
            (folder / "separable.svg").write_bytes(style.svg(drawn))
    print(table())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs/networks"))
