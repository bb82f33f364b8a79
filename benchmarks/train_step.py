"""Slices per second of a training step of every network at ATLAS' size, and the hours that ATLAS takes at that speed.

    python benchmarks/train_step.py [--batch 4] [--networks raxnet xnet] [--modes graph arrays eager bfloat16 xla]

Axial slices of 197 x 233 of a small phantom at 1 mm, on the 208 x 240 canvas, through the trainer's own input.
graph: as the trainer runs it. arrays: train_on_batch over float32 arrays in memory, as the original trained. gradients:
forward, loss and gradients of one batch that is there already, without metrics and optimizer. eager: without
tf.function. xla: jit_compile. bfloat16: mixed_bfloat16. They take turns, and every figure is the best of some rounds,
since the machine may have other work. limit: three times the forward pass's FLOPs (backward is two) at the rate that
this machine has in a large convolution: no training in float32 is quicker.
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
import pandas as pd
import tensorflow as tf

from lesions import nifti
from lesions.dataset import discover
from lesions.ingest import read_subject, slices_of
from lesions.phantom import make_cohort
from lesions.slices import canvas, slice_shape
from reports.tables import text_table
from serving.device import describe
from trainer import cost, fit, input, losses, networks, records
from trainer.measure import convolution_rate
from trainer.settings import TrainingSettings

PLANE, SUBJECTS = "axial", 3
MODES = ("graph", "arrays", "gradients", "eager", "bfloat16", "xla")
# raxnet.md, 2 and 3: lesion slices of 655 subjects; four of five folds of the 523 that are not held out train.
LESION_SLICES = {"axial": 32_989, "sagittal": 23_455, "coronal": 34_096}
TRAINED = 523 / 655 * 4 / 5


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


def step(mode: str, feed: fit.Feed, steps: int) -> Callable[[], float]:
    """What does one measurement: mean seconds of so many steps."""
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
        return _gradients(model, losses.get(settings.loss), loaded[0])
    if mode == "eager":
        model.run_eagerly = True

    def fitted() -> float:
        start = time.perf_counter()
        if mode in ("arrays", "eager"):
            for image, mask in loaded:
                model.train_on_batch(image, mask)
        else:
            model.fit(batches, epochs=1, verbose=0)
        return (time.perf_counter() - start) / len(loaded)

    return fitted


def _gradients(model: keras.Model, loss: losses.Loss, batch: tuple) -> Callable[[], float]:
    image, mask = (tf.constant(part) for part in batch)

    @tf.function
    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            value = loss(mask, model(image, training=True))
        return tape.gradient(value, model.trainable_variables)

    def timed() -> float:
        start = time.perf_counter()
        gradients()[0].numpy()
        return time.perf_counter() - start

    return timed


def measure(names: list[str], modes: list[str], batch: int, steps: int, rounds: int) -> pd.DataFrame:
    rows, rates = [], []
    with tempfile.TemporaryDirectory() as scratch:
        index, shape = written(Path(scratch))
        for name in names:
            settings = TrainingSettings(network=name, batch_size=batch)
            feed = fit.Feed(index, settings, PLANE, slice_shape(shape, PLANE), canvas(shape, PLANE))
            runs = {}
            for mode in modes:
                runs[mode] = step(mode, feed, steps)
                runs[mode]()  # traces, and compiles
                print(f"{name}, {mode}: ready", file=sys.stderr, flush=True)
            seconds = pd.DataFrame([{mode: run() for mode, run in runs.items()} for _ in range(rounds)])
            rates += [convolution_rate(1.0) for _ in range(rounds)]
            runs.clear()  # the networks' memory, before the next one's
            keras.backend.clear_session()
            gc.collect()
            rows.append({"network": name} | (batch / seconds.min()).to_dict())
            print(", ".join(f"{key} {value}" for key, value in rows[-1].items()), file=sys.stderr, flush=True)
        padded = feed.padding.padded(*feed.shape)
    print(f"\nconvolutions at best: {max(rates) / 1e9:.0f} GFLOP/s")
    measured = pd.DataFrame(rows)
    measured["limit"] = [max(rates) / (6 * cost.macs(networks.build(name, *padded))) for name in names]
    return measured


def hours(measured: pd.DataFrame) -> pd.DataFrame:
    """Of an epoch on one fold of ATLAS, as many normal slices as lesion slices, by plane; without validation."""
    made = pd.DataFrame({"network": measured["network"]})
    for plane, lesion in LESION_SLICES.items():
        made[f"{plane}, hours an epoch"] = 2 * lesion * TRAINED / measured["graph"] / 3600
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--networks", nargs="+", choices=sorted(networks.NETWORKS), default=sorted(networks.NETWORKS)
    )
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    asked = parser.parse_args()
    measured = measure(asked.networks, asked.modes, asked.batch, asked.steps, asked.rounds)
    how = f"batches of {asked.batch}, {describe()}, best of {asked.rounds} rounds of {asked.steps} steps"
    print(f"\nslices per second, {how}\n")
    print(text_table(measured, dict.fromkeys(("limit", *MODES), 2)))
    if "graph" in measured and "arrays" in measured:
        ratios = measured["graph"] / measured["arrays"]
        told = (f"{name} {ratio:.2f}" for name, ratio in zip(measured["network"], ratios, strict=True))
        print("\ngraph / arrays: " + ", ".join(told))
    if "graph" in measured:
        print("\nATLAS at the speed of `graph`: the axial speed taken for every plane\n")
        print(text_table(hours(measured)))


if __name__ == "__main__":
    main()
