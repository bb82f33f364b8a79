"""Slices per second of a training step of every network at ATLAS' size, and the hours that ATLAS takes at that speed.

    python benchmarks/train_step.py [--batch 4] [--networks raxnet xnet] [--modes graph arrays eager bfloat16 xla]

Axial slices of 197 x 233 of a small phantom at 1 mm, on the 208 x 240 canvas, through the trainer's own input.
graph: as the trainer runs it. arrays: train_on_batch over float32 arrays in memory, as the original trained. gradients:
forward, loss and gradients of one batch that is there already, without metrics and optimizer. eager: without
tf.function. xla: jit_compile. bfloat16: mixed_bfloat16. They take turns, every step is timed, and a figure is the first
quartile of all steps: a machine that is shared or hot slows down for seconds at a time. What a call of `fit` costs
besides its steps is told apart: an epoch of ATLAS has thousands of them. limit: three times the forward pass's FLOPs
(backward is two) at the rate that this machine has in a large convolution: no training in float32 is quicker.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from atlas_hours import hours

from lesions import nifti
from lesions.dataset import discover
from lesions.ingest import read_subject, slices_of
from lesions.phantom import make_cohort
from lesions.slices import canvas, slice_shape
from reports.tables import text_table
from serving.device import describe
from trainer import cost, fit, input, losses, records
from trainer.measure import convolution_rate, state_bytes
from trainer.networks import NETWORKS
from trainer.settings import TrainingSettings

PLANE, SUBJECTS = "axial", 3
MODES = ("graph", "arrays", "gradients", "eager", "bfloat16", "xla")


def written(folder: Path) -> tuple[input.Index, tuple[int, int, int]]:
    """Axial records of a phantom at 1 mm, and the shape of its volumes."""
    make_cohort(folder / "data", SUBJECTS, spacing=1.0)
    scans = discover(folder / "data").labeled
    grid = nifti.read_grid(scans[0].image)
    for scan in scans:
        records.write_shard(
            folder, 1, scan.subject, slices_of(scan.subject, *read_subject(scan, grid), PLANE)
        )
    return input.read_index(folder, [1]), grid.shape


class Stopwatch(keras.callbacks.Callback):
    """Seconds of every step of a `fit`, each with the wait for its batch; `rest`: of the call besides them."""

    def __enter__(self) -> Stopwatch:
        self.steps: list[float] = []
        self.start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.rest = time.perf_counter() - self.start - sum(self.steps)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """The first step begins."""
        self.last = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """A step ends."""
        now = time.perf_counter()
        self.steps.append(now - self.last)
        self.last = now


def step(mode: str, feed: fit.Feed, steps: int, rest: list[float]) -> Callable[[], list[float]]:
    """What does one measurement: seconds of each of so many steps. `rest` gathers what calls of `fit` cost besides."""
    settings = feed.settings
    if mode == "bfloat16":
        settings = replace(settings, precision="mixed_bfloat16")
    if mode == "xla":
        settings = replace(settings, jit_compile=True)
    model = fit.build(settings, feed.shape, feed.padding)
    plan = feed.plan(0)
    batches = feed.batches([batch for batch in plan if len(batch) == len(plan[0])][:steps])
    loaded = [tuple(part.numpy() for part in pair) for pair in batches]
    if mode == "gradients":
        return _each(_gradients(model, losses.get(settings.loss)), loaded)
    if mode in ("arrays", "eager"):
        model.run_eagerly = mode == "eager"
        return _each(model.train_on_batch, loaded)

    def fitted() -> list[float]:
        with Stopwatch() as watch:
            model.fit(batches, epochs=1, verbose=0, callbacks=[watch])
        rest.append(watch.rest)
        return watch.steps

    return fitted


def _each(run: Callable[..., object], loaded: list[tuple]) -> Callable[[], list[float]]:
    def timed() -> list[float]:
        seconds = []
        for image, mask in loaded:
            start = time.perf_counter()
            run(image, mask)
            seconds.append(time.perf_counter() - start)
        return seconds

    return timed


def _gradients(model: keras.Model, loss: losses.Loss) -> Callable[..., object]:
    @tf.function(reduce_retracing=True)
    def gradients(image: tf.Tensor, mask: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            value = loss(mask, model(image, training=True))
        return tape.gradient(value, model.trainable_variables)

    return lambda image, mask: gradients(tf.constant(image), tf.constant(mask))[0].numpy()


def measure(names: list[str], modes: list[str], batch: int, steps: int, rounds: int) -> pd.DataFrame:
    rows, rates = [], []
    with tempfile.TemporaryDirectory() as scratch:
        index, shape = written(Path(scratch))
        for name in names:
            settings = TrainingSettings(network=name, batch_size=batch)
            feed = fit.Feed(index, settings, PLANE, slice_shape(shape, PLANE), canvas(shape, PLANE))
            rest: list[float] = []
            runs = {}
            for mode in modes:
                runs[mode] = step(mode, feed, steps, rest)
                runs[mode]()  # traces, and compiles
                print(f"{name}, {mode}: ready", file=sys.stderr, flush=True)
            rest.clear()
            seconds: dict[str, list[float]] = {mode: [] for mode in modes}
            for _ in range(rounds):
                for mode, run in runs.items():
                    seconds[mode] += run()
                rates.append(convolution_rate(1.0))
            runs.clear()  # the networks' memory, before the next one's
            keras.backend.clear_session()
            gc.collect()
            speeds = {mode: batch / float(np.quantile(taken, 0.25)) for mode, taken in seconds.items()}
            whole = fit.build(settings, feed.shape, feed.padding)
            facts = {"macs": cost.macs(whole), "checkpoints, MB": state_bytes(whole) / 1e6}
            besides = {"fit besides": float(np.median(rest))} if rest else {}
            rows.append({"network": name} | facts | speeds | besides)
            print(", ".join(f"{key} {value}" for key, value in rows[-1].items()), file=sys.stderr, flush=True)
    print(f"\nconvolutions at best: {max(rates) / 1e9:.0f} GFLOP/s")
    measured = pd.DataFrame(rows)
    measured["limit"] = max(rates) / (6 * measured.pop("macs"))
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=4, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--networks", nargs="+", choices=sorted(NETWORKS), default=sorted(NETWORKS))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    asked = parser.parse_args()
    measured = measure(asked.networks, asked.modes, asked.batch, asked.steps, asked.rounds)
    how = f"batches of {asked.batch}, {describe()}, first quartile of {asked.rounds} x {asked.steps} steps"
    print(f"\nslices per second, {how}\n")
    print(text_table(measured, dict.fromkeys(("limit", "fit besides", "checkpoints, MB", *MODES), 2)))
    if "graph" in measured and "arrays" in measured:
        ratios = measured["graph"] / measured["arrays"]
        told = (f"{name} {ratio:.2f}" for name, ratio in zip(measured["network"], ratios, strict=True))
        print("\ngraph / arrays: " + ", ".join(told))
    if "graph" in measured:
        print("\nATLAS at the speed of `graph`: the axial speed taken for every plane\n")
        print(text_table(hours(measured, "graph")))


if __name__ == "__main__":
    main()
