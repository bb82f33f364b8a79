"""One scan, three planes: the original's way, ours in float32 and bfloat16, and the machine's limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from serving_models import load, on_canvas

from lesions import fusion
from lesions.grid import Volume, template_grid
from lesions.phantom import make_subject
from lesions.slices import PLANES, canvas, cut, put_back
from serving import device
from serving.predictor import open_models
from trainer.cost import macs
from trainer.measure import convolution_rate

GOALS = {"float32": 2.5, "quickest": 5.0, "limit": 1.5}


@dataclass
class Way:
    """A way to predict a plane's slices: its time, and its answers."""

    predict: Callable[[str, np.ndarray], np.ndarray]
    skip_empty: bool = False
    seconds: float = 0.0
    answers: dict[str, np.ndarray] = field(default_factory=dict)

    def run(self, plane: str, stack: np.ndarray) -> None:
        """Predicts a plane's slices, all or those that are not empty; timed."""
        start = time.perf_counter()
        answer = np.zeros(stack.shape, np.float32)
        rows = np.flatnonzero(stack.any(axis=(1, 2))) if self.skip_empty else np.arange(len(stack))
        answer[rows] = self.predict(plane, np.ascontiguousarray(stack[rows]))
        self.answers[plane] = put_back(answer, plane)
        self.seconds += time.perf_counter() - start

    def mask(self) -> np.ndarray:
        """The fused mask, and the time that fusion takes too."""
        start = time.perf_counter()
        _, mask = fusion.fuse_mean([self.answers[plane] for plane in PLANES])
        self.seconds += time.perf_counter() - start
        return mask


def original(folder: Path, spacing: float) -> tuple[Way, dict[str, float]]:
    """A call of Keras' `predict` for each slice (docs/spec/method.md#cost), and the FLOPs of each plane's slices."""
    grid = template_grid(spacing)
    networks = {plane: load(folder, spacing, plane) for plane in PLANES}
    for plane, network in networks.items():
        network.predict(on_canvas(np.ones((1, *_shape(grid, plane))), grid, plane), verbose=0)  # traces

    def predict(plane: str, stack: np.ndarray) -> np.ndarray:
        top, left = canvas(grid.shape, plane).rows[0], canvas(grid.shape, plane).columns[0]
        answer = np.empty(stack.shape, np.float32)
        for index, one in enumerate(stack):
            found = networks[plane].predict(on_canvas(one[None], grid, plane), verbose=0)[0, ..., 0]
            answer[index] = found[top : top + stack.shape[1], left : left + stack.shape[2]]
            answer[index] *= one.any()  # as the models do: nothing is said of an empty slice
        return answer

    counts = {plane: len(cut(np.broadcast_to(np.uint8(0), grid.shape), plane)) for plane in PLANES}
    return Way(predict), {plane: 2.0 * macs(networks[plane]) * counts[plane] for plane in PLANES}


def ours(folder: Path, spacing: float, precision: str, **options: bool) -> Way:
    """Our models in this process, loaded and warm."""
    predictor, grid = open_models(folder / f"{spacing:g}", precision), template_grid(spacing)
    for plane in PLANES:
        for count in (predictor.slices_at_once, 1):
            predictor.predict(plane, np.ones((count, *_shape(grid, plane)), np.float32))
    return Way(predictor.predict, **options)


def speed(folder: Path, spacing: float, seconds: float) -> None:
    """Prints all ways; they take turns, plane by plane."""
    scan = make_subject(0, seed=2, spacing=spacing)[0]
    keras_way, flops = original(folder, spacing)
    ways = {
        "original, one slice a call": keras_way,
        "float32, every slice": ours(folder, spacing, device.FLOAT32),
        "float32, empty slices skipped": ours(folder, spacing, device.FLOAT32, skip_empty=True),
    }
    rates = _turns(ways, scan, seconds)
    if device.has_bfloat16():  # last: TensorFlow's choice holds for the whole process
        quick = {"bfloat16, empty slices skipped": ours(folder, spacing, device.BFLOAT16, skip_empty=True)}
        _turns(quick, scan, seconds)
        ways |= quick
    masks = {name: way.mask() for name, way in ways.items()}
    base, reference = keras_way.seconds, masks["original, one slice a call"]
    count = sum(len(cut(scan.data, plane)) for plane in PLANES)
    print(f"one scan of {scan.grid.shape}, {count} slices, {int(reference.sum())} voxels of lesion")
    for name, way in ways.items():
        print(
            f"{name}: {way.seconds:.2f} s, {base / way.seconds:.2f} times as fast; {_change(masks[name], reference)}"
        )
    total, limit = sum(flops.values()), sum(flops[plane] / rates[plane] for plane in PLANES)
    ratio = ways["float32, every slice"].seconds / limit
    print(
        f"limit: {total / 1e9:.0f} GFLOP of the method at {total / limit / 1e9:.0f} GFLOP/s: {limit:.2f} s; float32, "
        f"every slice, takes {ratio:.2f} times that (goal: {GOALS['limit']} or less)"
    )
    print(
        f"goals: float32, every slice: {GOALS['float32']} times as fast and the same mask; "
        f"bfloat16: {GOALS['quickest']} times as fast"
    )


def _turns(ways: dict[str, Way], scan: Volume, seconds: float) -> dict[str, float]:
    """Every way in each plane, and how fast the machine was then: its speed is not always the same."""
    rates = {}
    for plane in PLANES:
        stack = np.ascontiguousarray(cut(scan.data, plane), np.float32)
        before = convolution_rate(seconds / 2)
        for way in ways.values():
            way.run(plane, stack)
        rates[plane] = (before + convolution_rate(seconds / 2)) / 2
    return rates


def _change(mask: np.ndarray, reference: np.ndarray) -> str:
    changed, size = int((mask != reference).sum()), int(mask.sum()) + int(reference.sum())
    dice = 2 * int((mask & reference).sum()) / size if size else 1.0
    return f"{changed} voxels differ from the original's mask, Dice with it {dice:.5f}"


def _shape(grid: object, plane: str) -> tuple[int, int]:
    return cut(np.broadcast_to(np.uint8(0), grid.shape), plane).shape[1:]
