"""Smooth random fields in millimeters: the same anatomy at any voxel size."""

from __future__ import annotations

import numpy as np

from lesions.grid import ATLAS_SHAPE, Grid

# Mean of the cubic B-spline's summed squared weights: the share of the variance that is left, per axis.
_SPLINE_POWER = 151.0 / 315.0


Box = tuple[slice, slice, slice]


def smooth_field(rng: np.random.Generator, grid: Grid, scale: float, box: Box | None = None) -> np.ndarray:
    """Draws a smooth random field with mean 0 and a standard deviation of about 1.

    White noise on a lattice over the ATLAS box, interpolated with cubic B-splines: a seed gives the same field
    at every voxel size.

    Args:
        rng: Its state decides the field.
        grid: A grid of `lesions.grid.template_grid`.
        scale: Distance over which the field varies, mm.
        box: The part of the grid that is wanted; all of it by default.

    Returns:
        A float32 array of shape `grid.shape`, or of the box's.
    """
    nodes = [int(np.ceil(n / scale)) + 4 for n in ATLAS_SHAPE]
    field = rng.standard_normal(nodes, dtype=np.float32)
    for axis in range(3):
        voxels = np.arange(grid.shape[axis])
        position = (voxels if box is None else voxels[box[axis]]) * grid.spacing[axis] / scale
        moved = np.tensordot(_weights(position, nodes[axis]), field, axes=(1, axis))
        field = np.moveaxis(moved, 0, axis)
    return np.ascontiguousarray(field) / np.float32(_SPLINE_POWER**1.5)


def _weights(position: np.ndarray, count: int) -> np.ndarray:
    """Cubic B-spline weights of `count` lattice nodes at each position, float32 (positions, count)."""
    distance = np.abs(position[:, None] + 1.0 - np.arange(count)[None, :])
    near = 2.0 / 3.0 - distance**2 + distance**3 / 2.0
    far = np.maximum(2.0 - distance, 0.0) ** 3 / 6.0
    return np.where(distance < 1.0, near, far).astype(np.float32)


def soft_step(x: np.ndarray, width: float) -> np.ndarray:
    """A step from 0 to 1 at x = 0, smeared over about `width` (the units of x), float32."""
    scaled = np.clip(np.asarray(x, dtype=np.float32) * np.float32(4.0 / width), -30.0, 30.0)
    return np.asarray(1.0 / (1.0 + np.exp(-scaled)), dtype=np.float32)
