"""How many subjects have a lesion in each voxel, counted from masks that were read once for other ends."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lesions.components import cropped
from lesions.grid import Grid, Volume


@dataclass(frozen=True)
class PackedMask:
    """A mask small enough to keep one of every subject: its bounding box, one bit a voxel, deflated.

    Attributes:
        start: First voxel of the box in the volume.
        shape: Of the box.
        bits: 5 to 20 kB for a lesion of ATLAS's sizes.
    """

    start: tuple[int, int, int]
    shape: tuple[int, ...]
    bits: bytes


def pack(lesion: np.ndarray) -> PackedMask:
    """Packs a (X, Y, Z) bool mask."""
    box, start = cropped(lesion)
    return PackedMask(start, box.shape, zlib.compress(np.packbits(box).tobytes(), 1))


def unpack(packed: PackedMask) -> np.ndarray:
    """The bool mask within its bounding box."""
    bits = np.frombuffer(zlib.decompress(packed.bits), dtype=np.uint8)
    return np.unpackbits(bits, count=int(np.prod(packed.shape))).astype(bool).reshape(packed.shape)


def count_masks(masks: Iterable[PackedMask], grid: Grid) -> Volume:
    """Adds up masks that lie on one grid: uint16 counts of shape `grid.shape`."""
    counts = np.zeros(grid.shape, dtype=np.uint16)
    for packed in masks:
        box = tuple(slice(first, first + n) for first, n in zip(packed.start, packed.shape, strict=True))
        counts[box] += unpack(packed)
    return Volume(counts, grid)
