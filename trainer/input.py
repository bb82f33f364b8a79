"""tf.data input: a batch plan names its records, which are read where they lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tensorflow as tf

from lesions import batches
from lesions.errors import WorkError
from lesions.slices import ONE_SLICE, Canvas, Context
from trainer import records
from trainer.augment import Augment


@dataclass(frozen=True, eq=False)
class Index:
    """All records of some folds: row i lies in shards[shard[i]] at offset[i], length[i] bytes long."""

    shards: tuple[str, ...]
    subjects: tuple[str, ...]  # of each shard
    shard: np.ndarray
    rows: np.ndarray  # of dtype records.INDEX

    def read(self, numbers: np.ndarray) -> np.ndarray:
        """The serialized records of some rows, as an object array of bytes of the same shape; b"" for row -1."""
        out = np.full(numbers.shape, b"", dtype=object)
        for place in zip(*np.nonzero(numbers >= 0), strict=True):
            number = numbers[place]
            row, stream = self.rows[number], _open(self.shards[self.shard[number]])
            out[place] = os.pread(stream.fileno(), int(row["length"]), int(row["offset"]))
        return out

    def neighbors(self, numbers: np.ndarray, context: Context) -> np.ndarray:
        """Rows (n, len(context)) of some rows' neighbors; -1 where there is no record: background, or outside."""
        wanted = self._places[numbers][:, None] + np.asarray(context)
        found = np.searchsorted(self._places, wanted).clip(max=len(self._places) - 1)
        return np.where(self._places[found] == wanted, found, -1)

    @cached_property
    def _places(self) -> np.ndarray:
        """One ascending number for each row's shard and slice; a shard's rows ascend by slice."""
        return (self.shard.astype(np.int64) << 32) + self.rows["slice"]


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
    index: Index,
    plan: Sequence[np.ndarray],
    shape: tuple[int, int],
    padding: Canvas,
    context: Context = ONE_SLICE,
    augment: Augment | None = None,
) -> tf.data.Dataset:
    """Streams the batches of a plan, padded to the network's canvas.

    Args:
        index: Where the records lie.
        plan: Row numbers of each batch, as `lesions.batches.plan` makes them.
        shape: (height, width) of the slices.
        padding: The canvas.
        context: Offsets of the slices that the network sees.
        augment: Changes the slices and masks, before they are padded.

    Returns:
        Batches (image, mask) in the plan's order, deterministic; image (n, rows, columns, len(context)) and mask
        (n, rows, columns, 1), float32.
    """
    pads = [[0, 0], [0, 0], list(padding.rows), list(padding.columns)]

    def fetch(batch: np.ndarray) -> np.ndarray:
        return index.read(index.neighbors(plan[int(batch)], context))

    def parse(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        serialized = tf.ensure_shape(tf.numpy_function(fetch, [batch], tf.string), [None, len(context)])
        stacks, masks = records.decode_stacks(serialized, context.index(0), *shape)
        if augment is not None:
            rows = tf.numpy_function(lambda number: plan[int(number)].astype(np.int64), [batch], tf.int64)
            stacks, masks = augment(tf.ensure_shape(rows, [None]), stacks, masks)
        image, mask = (tf.pad(part, pads) for part in (stacks, masks[:, tf.newaxis]))
        return tf.transpose(image, [0, 2, 3, 1]), tf.transpose(mask, [0, 2, 3, 1])

    batches_in_order = tf.data.Dataset.range(len(plan)).map(parse, num_parallel_calls=2, deterministic=True)
    return batches_in_order.prefetch(2)


def plan(index: Index, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """One epoch's distribution batches over the rows of an index (docs/spec/method.md#distribution-batches)."""
    return batches.plan(index.rows["category"].astype(np.int64), batch_size, seed, epoch)
