"""Slices as tf.Example records in TFRecord shards that can be read at any place.

A shard is one subject in one plane, uncompressed. Its index beside the splits holds, for every record, where it
lies and its size category, so that a batch plan is read record by record.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf

from lesions.slices import Slice

INDEX = np.dtype(
    [("slice", "<i4"), ("offset", "<i8"), ("length", "<i4"), ("lesion_voxels", "<i4"), ("category", "i1")]
)
_HEADER, _FOOTER = 12, 4  # TFRecord: uint64 length and its CRC before, CRC of the data behind

FEATURES = {
    "subject": tf.io.FixedLenFeature([], tf.string),
    "plane": tf.io.FixedLenFeature([], tf.string),
    "slice": tf.io.FixedLenFeature([], tf.int64),
    "height": tf.io.FixedLenFeature([], tf.int64),
    "width": tf.io.FixedLenFeature([], tf.int64),
    "image": tf.io.FixedLenFeature([], tf.string),
    "mask": tf.io.FixedLenFeature([], tf.string),
    "lesion_voxels": tf.io.FixedLenFeature([], tf.int64),
    "size_category": tf.io.FixedLenFeature([], tf.int64),
}


def encode(record: Slice) -> bytes:
    """Serializes a slice as a tf.Example; pixels stay raw bytes."""
    example = tf.train.Example()
    for name, value in vars(record).items():
        feature = example.features.feature[name]
        if isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.bytes_list.value.append(value.encode() if isinstance(value, str) else value)
    return example.SerializeToString(deterministic=True)


def decode(serialized: tf.Tensor, height: int, width: int) -> dict[str, tf.Tensor]:
    """Parses records in the graph.

    Args:
        serialized: (N,) strings.
        height: Rows of the plane's slices.
        width: Columns.

    Returns:
        image (N, height, width) float32 in [0, 255]; mask (N, height, width) float32 in {0, 1}; the other
        features as they are, (N,).
    """
    parsed = tf.io.parse_example(serialized, FEATURES)
    pixels = tf.io.decode_raw(parsed["image"], tf.uint16)
    shape = [-1, height, width]
    parsed["image"] = tf.reshape(tf.cast(pixels, tf.float32) * (255.0 / 65535.0), shape)
    parsed["mask"] = tf.reshape(tf.cast(tf.io.decode_raw(parsed["mask"], tf.uint8), tf.float32), shape)
    return parsed


def decode_stacks(serialized: tf.Tensor, target: int, height: int, width: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Parses target slices with their neighbors in the graph.

    Args:
        serialized: (N, slices) strings; "" for a neighbor that has no record: it is background or outside.
        target: Which of the slices is the target; it always has a record.
        height: Rows of the plane's slices.
        width: Columns.

    Returns:
        Images (N, slices, height, width) float32 in [0, 255], zeros where there was no record, and the targets'
        masks (N, height, width) float32 in {0, 1}.
    """
    missing = tf.equal(serialized, "")
    filled = tf.where(missing, serialized[:, target : target + 1], serialized)
    parsed = decode(tf.reshape(filled, [-1]), height, width)
    shape = [-1, serialized.shape[1], height, width]
    images, masks = (tf.reshape(parsed[name], shape) for name in ("image", "mask"))
    return tf.where(missing[..., tf.newaxis, tf.newaxis], 0.0, images), masks[:, target]


def shard_path(examples: Path, fold: int, subject: str) -> Path:
    """Where a subject's records lie in an Examples artifact."""
    return examples / f"Split-fold_{fold}" / f"{subject}.tfrecord"


def index_path(examples: Path, fold: int, subject: str) -> Path:
    """Where the index of a shard lies: outside `Split-*`, whose files readers take for records."""
    return examples / "index" / f"fold_{fold}" / f"{subject}.npy"


def write_shard(examples: Path, fold: int, subject: str, records: Iterable[Slice]) -> int:
    """Writes a subject's shard and its index, the shard last; returns the number of records.

    For benchmarks and tests; the ingest takes them from its store (`trainer.record_store`). Both are written under
    other names first, which are removed where something goes wrong.

    Args:
        examples: Folder of a plane's Examples artifact.
        fold: From 1.
        subject: Its id, which names the files.
        records: Its slices in this plane.
    """
    path, index = shard_path(examples, fold, subject), index_path(examples, fold, subject)
    partial = examples / "partial" / f"{subject}.{os.getpid()}"
    rows_file = partial.with_name(f"{partial.name}.npy")
    for folder in (path.parent, index.parent, partial.parent):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        rows = write_files(partial, rows_file, records)
        rows_file.replace(index)
        partial.replace(path)
    finally:
        rows_file.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)
    return len(rows)


def write_files(shard: Path, index: Path, records: Iterable[Slice]) -> np.ndarray:
    """Writes records and their index as they come; returns the index.

    Args:
        shard: File of the records.
        index: File of the index, .npy.
        records: Slices of one subject and plane.
    """
    rows = _write_records(shard, records)
    with index.open("wb") as stream:
        np.save(stream, rows)
    return rows


def shard_bytes(rows: np.ndarray) -> int:
    """Size of the shard that an index describes."""
    return int(rows["offset"][-1] + rows["length"][-1] + _FOOTER) if len(rows) else 0


def _write_records(path: Path, records: Iterable[Slice]) -> np.ndarray:
    """Writes records one after another; returns the rows of their index."""
    rows, offset = [], 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            data = encode(record)
            writer.write(data)
            rows.append(
                (record.slice, offset + _HEADER, len(data), record.lesion_voxels, record.size_category)
            )
            offset += _HEADER + len(data) + _FOOTER
    return np.array(rows, dtype=INDEX)
