"""Slices per second out of tf.data: distribution batches, flat reading, RAM: python benchmarks/input_pipeline.py DATA.

DATA is a data set at 1 mm, such as `raxnet phantom DATA --subjects 8` writes. The same axial records are read three
ways, by turns, every batch decoded and padded to the network's 208 x 240: in the order of an epoch's plan, by the
trainer's own input; shard after shard, as TFRecordDataset reads them best; and from float32 arrays in memory. Wall time
is what a training waits for; processor time, all threads together, does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
import tensorflow as tf

from common import machine
from lesions import nifti
from lesions.dataset import discover
from lesions.ingest import read_subject, slices_of
from lesions.slices import Canvas, canvas, slice_shape
from trainer import input, records

PLANE = "axial"


@dataclass(frozen=True)
class Written:
    """Axial records of a data set, and one epoch's plan over them."""

    folder: Path
    shape: tuple[int, int]
    padding: Canvas
    index: input.Index
    plan: list[np.ndarray]


def write(data: Path, folder: Path, batch_size: int) -> Written:
    scans = discover(data).labeled
    grid = nifti.read_grid(scans[0].image)
    for scan in scans:
        image, mask = read_subject(scan, grid)
        records.write_shard(folder, 1, scan.subject, slices_of(scan.subject, image, mask, PLANE))
    index = input.read_index(folder, [1])
    plan = input.plan(index, batch_size, 0, 0)
    return Written(folder, slice_shape(grid.shape, PLANE), canvas(grid.shape, PLANE), index, plan)


def planned(written: Written) -> tf.data.Dataset:
    """As the trainer reads."""
    return input.dataset(written.index, written.plan, written.shape, written.padding)


def flat(written: Written, batch_size: int) -> tf.data.Dataset:
    """Whole shards one after another."""
    pads = [[0, 0], list(written.padding.rows), list(written.padding.columns)]

    def parse(batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        parsed = records.decode(batch, *written.shape)
        return tuple(tf.pad(parsed[name], pads)[..., tf.newaxis] for name in ("image", "mask"))

    shards = sorted(str(path) for path in written.folder.glob("Split-*/*"))
    read = tf.data.TFRecordDataset(shards).batch(batch_size)
    return read.map(parse, num_parallel_calls=2).prefetch(2)


def in_memory(written: Written) -> tf.data.Dataset:
    """The plan's batches, gathered from arrays that are decoded and padded already."""
    everything = list(flat(written, 64))
    images, masks = (np.concatenate([pair[i] for pair in everything]) for i in (0, 1))
    spec = (tf.TensorSpec([None, *images.shape[1:]], tf.float32),) * 2
    return tf.data.Dataset.from_generator(
        lambda: ((images[rows], masks[rows]) for rows in written.plan), output_signature=spec
    )


def rates(make: dict[str, Callable[[], tf.data.Dataset]], repeats: int) -> pd.DataFrame:
    """Slices per second, the best of some repetitions by turns."""
    best: dict[str, list[float]] = {name: [0.0, 0.0, 0] for name in make}
    for _ in range(repeats):
        for name, build in make.items():
            data = build()
            wall, processor = time.perf_counter(), time.process_time()
            slices = sum(int(image.shape[0]) for image, _ in data)
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            best[name] = [max(best[name][0], slices / wall), max(best[name][1], slices / processor), slices]
    columns = ["slices/s", "per second of processor time", "n"]
    return pd.DataFrame(best, index=columns).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        written = write(given.data, Path(folder), given.batch_size)
        arrays = in_memory(written)
        found = rates(
            {
                "distribution batches": lambda: planned(written),
                "flat reading": lambda: flat(written, given.batch_size),
                "RAM arrays": lambda: arrays,
            },
            given.repeats,
        )
    rows, columns = written.padding.padded(*written.shape)
    print(
        f"{PLANE} slices on {rows} x {columns}, batches of {given.batch_size}, {machine.processors()} processors\n"
    )
    print(found.round().astype(int).to_string())
    ratio = found.loc["distribution batches"] / found.loc["flat reading"]
    print(f"\ndistribution batches against flat reading: {ratio.iloc[0]:.2f} of its rate by wall time,")
    print(f"{ratio.iloc[1]:.2f} by processor time (goal: 3,000 slices/s or more, and 0.75 or more)")


if __name__ == "__main__":
    main()
