"""tf.data input: a batch plan names its records, which are read where they lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tensorflow as tf

from lesions import batches
from lesions.errors import WorkError
from lesions.slices import Canvas
from trainer import records


@dataclass(frozen=True, eq=False)
class Index:
    """All records of some folds: row i lies in shards[shard[i]] at offset[i], length[i] bytes long."""

    shards: tuple[str, ...]
    subjects: tuple[str, ...]  # of each shard
    shard: np.ndarray
    rows: np.ndarray  # of dtype records.INDEX

    def read(self, numbers: np.ndarray) -> np.ndarray:
        """The serialized records of some rows, as an object array of bytes."""
        out = np.empty(len(numbers), dtype=object)
        for i, number in enumerate(numbers):
            row, stream = self.rows[number], _open(self.shards[self.shard[number]])
            out[i] = os.pread(stream.fileno(), int(row["length"]), int(row["offset"]))
        return out


@lru_cache(maxsize=256)
def _open(path: str) -> BinaryIO:
    return Path(path).open("rb", buffering=0)  # type: ignore[return-value] # closed when the cache drops it


def read_index(examples: Path, folds: Sequence[int]) -> Index:
    """Reads the index of some folds of an Examples artifact, by ascending fold and subject.

    Raises:
        WorkError: A fold has no records.
    """
    shards: list[str] = []
    subjects: list[str] = []
    numbers, rows = [], []
    for fold in sorted(folds):
        files = sorted((examples / "index" / f"fold_{fold}").glob("*.npy"))
        if not files:
            raise WorkError(f"{examples}: fold {fold} has no records; run the ingest again")
        for file in files:
            table = np.load(file)
            numbers.append(np.full(len(table), len(shards), dtype=np.int32))
            shards.append(str(records.shard_path(examples, fold, file.stem)))
            subjects.append(file.stem)
            rows.append(table)
    return Index(tuple(shards), tuple(subjects), np.concatenate(numbers), np.concatenate(rows))


def dataset(
    index: Index, plan: Sequence[np.ndarray], shape: tuple[int, int], padding: Canvas
) -> tf.data.Dataset:
    """Streams the batches of a plan, padded to the network's canvas.

    Args:
        index: Where the records lie.
        plan: Row numbers of each batch, as `lesions.batches.plan` makes them.
        shape: (height, width) of the slices.
        padding: The canvas.

    Returns:
        Batches (image, mask), each (n, rows, columns, 1) float32, in the plan's order; deterministic.
    """
    pads = [[0, 0], list(padding.rows), list(padding.columns)]

    def fetch(batch: np.ndarray) -> np.ndarray:
        return index.read(plan[int(batch)])

    def parse(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        serialized = tf.ensure_shape(tf.numpy_function(fetch, [batch], tf.string), [None])
        parsed = records.decode(serialized, *shape)
        image, mask = (tf.pad(parsed[name], pads)[..., tf.newaxis] for name in ("image", "mask"))
        return image, mask

    batches_in_order = tf.data.Dataset.range(len(plan)).map(parse, num_parallel_calls=2, deterministic=True)
    return batches_in_order.prefetch(2)


def plan(index: Index, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """One epoch's distribution batches over the rows of an index (raxnet.md, 5)."""
    return batches.plan(index.rows["category"].astype(np.int64), batch_size, seed, epoch)
