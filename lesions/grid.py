"""Voxel grids: shape and affine, and moving a volume from one grid to another."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy import ndimage

Shape = tuple[int, int, int]

ATLAS_SHAPE: Shape = (197, 233, 189)
ATLAS_ORIGIN = (-98.0, -134.0, -72.0)
SPACE = "MNI152NLin2009aSym"


@dataclass(frozen=True)
class Grid:
    """Shape in voxels and the 4 x 4 affine from voxel indices to millimeters (RAS), as nested tuples."""

    shape: Shape
    affine: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, shape: tuple[int, ...], affine: Any) -> Grid:
        """Makes a grid from a 3-D shape and anything that NumPy reads as a 4 x 4 matrix."""
        matrix = np.asarray(affine, dtype=float)
        if len(shape) != 3 or matrix.shape != (4, 4):
            raise ValueError(f"a grid needs a 3-D shape and a 4 x 4 affine, found {shape} and {matrix.shape}")
        rows = tuple(tuple(float(v) for v in row) for row in matrix)
        return cls((int(shape[0]), int(shape[1]), int(shape[2])), rows)

    @property
    def matrix(self) -> np.ndarray:
        """The affine as a (4, 4) float array."""
        return np.array(self.affine)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel, mm."""
        edges = np.sqrt((self.matrix[:3, :3] ** 2).sum(axis=0))
        return float(edges[0]), float(edges[1]), float(edges[2])

    @property
    def voxel_volume(self) -> float:
        """Volume of a voxel, mm^3."""
        return float(abs(np.linalg.det(self.matrix[:3, :3])))

    def same_as(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """True where shapes are equal and no voxel lies more than `tolerance` mm from its counterpart."""
        if self.shape != other.shape:
            return False
        # An affine map is farthest off at a corner; a small tilt would hide in the matrices themselves.
        corners = np.array([[*corner, 1] for corner in product(*((0, n - 1) for n in self.shape))])
        apart = corners @ (self.matrix - other.matrix).T
        return bool(np.linalg.norm(apart[:, :3], axis=1).max() <= tolerance)

    def as_json(self) -> dict[str, Any]:
        """Plain lists, for JSON."""
        return {"shape": list(self.shape), "affine": [list(row) for row in self.affine]}


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3-D array of shape `grid.shape` on its grid."""

    data: np.ndarray
    grid: Grid


def grid_from_json(content: dict[str, Any]) -> Grid:
    """The grid that `Grid.as_json` described."""
    return Grid.of(tuple(content["shape"]), content["affine"])


def template_grid(spacing: float = 1.0) -> Grid:
    """The ATLAS grid (MNI152NLin2009aSym, RAS) at another spacing.

    Args:
        spacing: Edge of the isotropic voxels, mm. 1 gives 197 x 233 x 189.

    Returns:
        A grid with the first voxel's center where ATLAS has it, covering the same box.
    """
    shape = tuple(int(np.ceil(n / spacing)) for n in ATLAS_SHAPE)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = ATLAS_ORIGIN
    return Grid.of(shape, affine)


def resample(volume: Volume, grid: Grid, order: int = 1, cval: float = 0.0) -> Volume:
    """Moves a volume to another grid through millimeters; matches grids, does not register.

    Before going to larger voxels, values (order > 0) are smoothed to the new resolution, so that noise and
    edges look as in a scan taken at that resolution.

    Args:
        volume: Any orientation and spacing.
        grid: The wanted grid.
        order: 1 trilinear, 0 nearest (masks).
        cval: Value outside the given volume.

    Returns:
        A float32 volume (order 1) or one of the given type (order 0) on `grid`.
    """
    if volume.grid.same_as(grid, 1e-6):
        return volume
    to_source = np.linalg.inv(volume.grid.matrix) @ grid.matrix
    data = volume.data if order == 0 else volume.data.astype(np.float32, copy=False)
    if order > 0:
        # Gaussian of the new voxel's width less the old one's, width taken as full width at half maximum.
        steps = np.linalg.norm(np.linalg.inv(to_source[:3, :3]), axis=0)
        width = np.sqrt(np.maximum((1.0 / steps) ** 2 - 1.0, 0.0)) / np.sqrt(8.0 * np.log(2.0))
        if (width > 0.3).any():
            data = ndimage.gaussian_filter(data, width, mode="nearest")
    linear, offset = to_source[:3, :3], to_source[:3, 3]
    if np.allclose(linear, np.diag(np.diag(linear)), atol=1e-9):
        linear = np.diag(linear)  # SciPy's fast way for axis-parallel grids
    # "grid-constant" fades beyond the border; "constant" would drop a border voxel for a rounding error.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about SciPy before 0.18, for the fast way
        moved = ndimage.affine_transform(
            data, linear, offset, output_shape=grid.shape, order=order, mode="grid-constant", cval=cval
        )
    return Volume(moved, grid)
