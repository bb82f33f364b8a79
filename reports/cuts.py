"""Which slices of a subject are shown, and what part of them: no drawing here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lesions.grid import Volume
from lesions.slices import AXIS, PLANES

CLOSE_UP = 60.0  # mm, the least width of a close-up
Frame = tuple[float, float, float, float]  # left, right, bottom, top, mm


@dataclass(frozen=True, eq=False)
class Cut:
    """One slice of a subject, (width, height) arrays in RAS order, first axis to the right of the picture.

    Attributes:
        plane: axial, sagittal or coronal.
        index: Slice number along the plane's axis.
        position: Of the slice's center along that axis, mm.
        image, truth, prediction: The slice of each volume.
        spacing: (width, height) of a voxel, mm.
        disagreement: The slice of the planes' disagreement, 0 to 1; None where there is none.
    """

    plane: str
    index: int
    position: float
    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    spacing: tuple[float, float]
    disagreement: np.ndarray | None = None


def largest_slice(truth: np.ndarray, prediction: np.ndarray, plane: str) -> int:
    """The slice to show: where the truth is largest; without truth, the prediction; without both, the middle.

    Args:
        truth: (X, Y, Z) mask.
        prediction: (X, Y, Z) mask.
        plane: Which way to cut.

    Returns:
        Slice index; the lowest one where several are equally large.
    """
    others = tuple(axis for axis in range(3) if axis != AXIS[plane])
    for mask in (truth, prediction):
        sizes = (mask > 0).sum(axis=others)
        if sizes.any():
            return int(sizes.argmax())
    return truth.shape[AXIS[plane]] // 2


def cuts(
    image: Volume, truth: np.ndarray, prediction: np.ndarray, disagreement: np.ndarray | None = None
) -> list[Cut]:
    """The axial, sagittal and coronal cut through the lesion's largest slice of each plane.

    Args:
        image: The scan, in RAS order (`lesions.nifti.canonical`).
        truth: (X, Y, Z) mask on the scan's grid.
        prediction: (X, Y, Z) mask on the scan's grid.
        disagreement: (X, Y, Z) of the planes, 0 to 1.
    """
    return [_cut(image, truth, prediction, disagreement, plane) for plane in PLANES]


def _cut(
    image: Volume, truth: np.ndarray, prediction: np.ndarray, disagreement: np.ndarray | None, plane: str
) -> Cut:
    axis = AXIS[plane]
    index = largest_slice(truth, prediction, plane)
    center = [(n - 1) / 2 for n in image.grid.shape]
    center[axis] = index
    position = float((image.grid.matrix @ [*center, 1.0])[axis])
    spacing = [s for a, s in enumerate(image.grid.spacing) if a != axis]
    scan, true, found = (np.take(volume, index, axis) for volume in (image.data, truth > 0, prediction > 0))
    apart = None if disagreement is None else np.take(disagreement, index, axis)
    return Cut(plane, index, position, scan, true, found, (spacing[0], spacing[1]), apart)


def outline(mask: np.ndarray) -> np.ndarray:
    """The border of a 2-D mask along the voxels' edges, exact for single voxels too.

    Args:
        mask: (width, height) boolean array; voxel (i, j) covers i to i + 1 and j to j + 1.

    Returns:
        (n, 2, 2) line segments, each a pair of (x, y) points in voxel edges.
    """
    padded = np.pad(mask.astype(bool), 1)
    # An edge lies wherever two neighbors differ; index k of the difference is the edge before voxel k.
    x, y = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
    upright = np.stack([np.stack([x, y], 1), np.stack([x, y + 1], 1)], 1)
    x, y = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
    level = np.stack([np.stack([x, y], 1), np.stack([x + 1, y], 1)], 1)
    return np.concatenate([upright, level]).astype(float)


def window(image: np.ndarray) -> tuple[float, float]:
    """The intensities shown as black and white: the 1st and 99.5th percentile of what is not background."""
    # Half a million voxels, evenly drawn, tell as much as nine million.
    some = image.ravel(order="K")[:: max(1, image.size // 500_000)]
    inside = some[np.isfinite(some) & (some != 0)]
    if not inside.size:
        return 0.0, 1.0
    low, high = np.percentile(inside, [1.0, 99.5])
    return float(low), float(high) if high > low else float(low) + 1.0


def close_up(cut: Cut) -> Frame:
    """The frame (left, right, bottom, top), mm, around truth and prediction: a square of 60 mm or more.

    It is moved, not cut off, where it would reach over the slice's border, as far as the slice goes.
    """
    size = np.array(cut.truth.shape) * cut.spacing
    either = np.argwhere(cut.truth | cut.prediction)
    corners = (
        np.stack([either.min(0), either.max(0) + 1]) if len(either) else np.array([[0, 0], cut.truth.shape])
    )
    low, high = corners * cut.spacing
    side = min(max(CLOSE_UP, 1.25 * float((high - low).max())), float(size.min()))
    start = np.clip((low + high) / 2 - side / 2, 0, size - side)
    return float(start[0]), float(start[0] + side), float(start[1]), float(start[1] + side)


def head(cut: Cut) -> Frame:
    """A square around the head with a margin of 4 mm, the same shape for all three planes."""
    inside = np.argwhere(cut.image > 0.1 * window(cut.image)[1])
    corners = (
        np.stack([inside.min(0), inside.max(0) + 1]) if len(inside) else np.array([[0, 0], cut.image.shape])
    )
    low, high = corners * cut.spacing
    x, y = (low + high) / 2
    half = float((high - low).max()) / 2 + 4
    return x - half, x + half, y - half, y + half
