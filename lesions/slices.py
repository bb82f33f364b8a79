"""Slices of a volume in the three planes, and the canvas on which a network sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lesions.grid import ATLAS_SHAPE, Shape

PLANES = ("axial", "sagittal", "coronal")
AXIS = {"sagittal": 0, "coronal": 1, "axial": 2}  # (docs/spec/method.md#lesion-statistics)
MULTIPLE = 16  # the network halves its input four times

Context = tuple[int, ...]  # slices that a network sees: offsets along the plane's normal, 0 the target itself
ONE_SLICE: Context = (0,)

# (before, after) of rows and columns; the authors' weights need these very offsets
# (docs/spec/method.md#slices).
_ATLAS_PADDING = {
    "axial": ((6, 5), (3, 4)),
    "sagittal": ((3, 4), (9, 10)),
    "coronal": ((5, 6), (9, 10)),
}


@dataclass(frozen=True)
class Slice:
    """One training record; its fields are the features of `schema/schema.pbtxt`."""

    subject: str
    plane: str
    slice: int  # index along the plane's axis
    height: int
    width: int
    image: bytes  # uint16, row-major, 65535 = the slice's maximum
    mask: bytes  # uint8, row-major, 1 = lesion
    lesion_voxels: int
    size_category: int  # 0 = no lesion


@dataclass(frozen=True)
class Canvas:
    """Zero padding around a slice: (before, after) voxels of rows and of columns."""

    rows: tuple[int, int]
    columns: tuple[int, int]

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """The network's input size for slices of (height, width)."""
        return height + sum(self.rows), width + sum(self.columns)


def slice_shape(shape: Shape, plane: str) -> tuple[int, int]:
    """(height, width) of a plane's slices of a volume of `shape`."""
    height, width = (n for axis, n in enumerate(shape) if axis != AXIS[plane])
    return height, width


def canvas(shape: Shape, plane: str) -> Canvas:
    """The canvas of a plane: the method's own on the ATLAS grid, else the next multiple of 16, split evenly."""
    if shape == ATLAS_SHAPE:
        return Canvas(*_ATLAS_PADDING[plane])
    rows, columns = (_even(n) for n in slice_shape(shape, plane))
    return Canvas(rows, columns)


def _even(length: int) -> tuple[int, int]:
    missing = -length % MULTIPLE
    return missing // 2, missing - missing // 2


def cut(volume: np.ndarray, plane: str) -> np.ndarray:
    """All slices of a plane, (depth, height, width), as a view of the (X, Y, Z) volume."""
    return np.moveaxis(volume, AXIS[plane], 0)


def put_back(slices: np.ndarray, plane: str) -> np.ndarray:
    """The (X, Y, Z) volume of a plane's slices (depth, height, width); the inverse of `cut`, a view too."""
    return np.moveaxis(slices, 0, AXIS[plane])


def stacks(slices: np.ndarray, rows: np.ndarray, context: Context) -> np.ndarray:
    """Slices with their neighbors.

    Args:
        slices: All slices of a plane, (depth, height, width).
        rows: (n,) the target slices' indices.
        context: Offsets of the neighbors, 0 the target itself.

    Returns:
        (n, len(context), height, width): a copy, zeros where a neighbor lies outside the volume.
    """
    wanted = np.asarray(rows)[:, None] + np.asarray(context)
    inside = (wanted >= 0) & (wanted < len(slices))
    found = slices[np.where(inside, wanted, 0)]
    found[~inside] = 0
    return found
