"""Distances between the surfaces of two masks, in mm: HD95, ASSD, surface Dice.

The surface is DeepMind's (Nikolov et al. 2018, arXiv:1809.04430): its points are the corners shared by lesion and
background voxels, each weighs the area of its surface element, which follows from its eight neighbors and the spacing.
The area table is that of their package `surface-distance`. Distances come from a search tree over the surface points,
which gives the same numbers as their distance maps, without maps as large as the masks' common box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree
from surface_distance.lookup_tables import create_table_neighbour_code_to_surface_area

from lesions.box import bounding_box

TOLERANCE = 1.0  # mm: one voxel of the ATLAS grid
_INSIDE = 255  # all eight neighbors of a corner are lesion


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances of each surface's points to the other surface.

    Attributes:
        truth: (n,) mm from the truth's points, ascending; infinite where the prediction is empty.
        prediction: (m,) mm from the prediction's points, ascending; infinite where the truth is empty.
        truth_areas: (n,) mm^2 of the truth's surface elements, in the order of `truth`.
        prediction_areas: (m,) mm^2, likewise.
    """

    truth: np.ndarray
    prediction: np.ndarray
    truth_areas: np.ndarray
    prediction_areas: np.ndarray

    @property
    def comparable(self) -> bool:
        """False where a mask is empty: it has no surface, so there is no distance to it."""
        return len(self.truth) > 0 and len(self.prediction) > 0

    def hausdorff(self, percent: float = 95.0) -> float:
        """Greater of the two directed distances that `percent` of a surface's area keeps; mm.

        NaN where a mask is empty. 100 is the Hausdorff distance of the surface points, 95 is HD95.
        """
        if not self.comparable:
            return float("nan")
        return max(
            _percentile(self.truth, self.truth_areas, percent),
            _percentile(self.prediction, self.prediction_areas, percent),
        )

    def average(self) -> float:
        """ASSD: mean distance over the area of both surfaces together (Heimann et al. 2009); mm.

        NaN where a mask is empty.
        """
        if not self.comparable:
            return float("nan")
        total = self.truth @ self.truth_areas + self.prediction @ self.prediction_areas
        return float(total / (self.truth_areas.sum() + self.prediction_areas.sum()))

    def dice(self, tolerance: float = TOLERANCE) -> float:
        """Share of both surfaces' area that lies within `tolerance` mm of the other surface.

        1 where both masks are empty, 0 where one of them is.
        """
        area = self.truth_areas.sum() + self.prediction_areas.sum()
        if area == 0:
            return 1.0
        near = self.truth_areas[self.truth <= tolerance].sum()
        return float((near + self.prediction_areas[self.prediction <= tolerance].sum()) / area)


def surface_distances(
    truth: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]
) -> SurfaceDistances:
    """Measures the surfaces of two masks against each other.

    Args:
        truth: (X, Y, Z) bool mask. Outside the array is background: a lesion at its border has a surface there.
        prediction: Bool mask of the same shape.
        spacing: Edges of a voxel along the three axes, mm.
    """
    edges = np.array(spacing, dtype=np.float64)
    box = bounding_box(truth | prediction)
    codes = [corner_codes(mask[box]) for mask in (truth, prediction)]
    flat = [np.flatnonzero((code != 0) & (code != _INSIDE)) for code in codes]  # the surfaces' points
    weights = [
        _areas(tuple(edges.tolist()))[code.ravel()[points]] for code, points in zip(codes, flat, strict=True)
    ]
    places = [np.stack(np.unravel_index(points, codes[0].shape), axis=1) for points in flat]
    distances = [_to_other(places[0], places[1], edges), _to_other(places[1], places[0], edges)]
    orders = [np.argsort(distance, kind="stable") for distance in distances]
    return SurfaceDistances(
        distances[0][orders[0]], distances[1][orders[1]], weights[0][orders[0]], weights[1][orders[1]]
    )


def corner_codes(mask: np.ndarray) -> np.ndarray:
    """Which of the eight voxels around each voxel corner are lesion.

    Args:
        mask: (X, Y, Z) bool.

    Returns:
        (X + 1, Y + 1, Z + 1) uint8: bit 4 (1 - i) + 2 (1 - j) + (1 - k) is the voxel at offset (i, j, k) - 1,
        as in the area table of `surface-distance`.
    """
    codes: np.ndarray = np.ascontiguousarray(mask).astype(np.uint8)
    for axis, bits in ((2, 1), (1, 2), (0, 4)):
        before = [(int(a == axis), 0) for a in range(3)]
        after = [(0, int(a == axis)) for a in range(3)]
        codes = np.left_shift(np.pad(codes, before), bits, dtype=np.uint8) | np.pad(codes, after)
    return codes


def _to_other(points: np.ndarray, targets: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Distance of every point of one surface to the nearest of the other, mm.

    Args:
        points: (n, 3) voxel corners.
        targets: (m, 3) voxel corners.
        edges: (3,) mm of a voxel.
    """
    if not len(points) or not len(targets):
        return np.full(len(points), np.inf)
    # Measured on lesions at 1 mm: such a tree is built and searched fastest, 7 to 18 times as fast as a map.
    tree = cKDTree(targets * edges, 32, compact_nodes=False, balanced_tree=False)
    nearest = tree.query(points * edges)[1]
    # From whole voxels, not from the tree's rounded places: a tolerance is met or not, exactly.
    steps = (points - targets[nearest]) * edges
    return np.sqrt((steps * steps).sum(axis=1))


def _percentile(distances: np.ndarray, areas: np.ndarray, percent: float) -> float:
    """The distance at which `percent` of the area is reached."""
    reached = np.cumsum(areas) / areas.sum()
    place = int(np.searchsorted(reached, percent / 100.0))
    return float(distances[min(place, len(distances) - 1)])


@lru_cache(maxsize=64)
def _areas(spacing: tuple[float, ...]) -> np.ndarray:
    """(256,) mm^2 of a surface element by its corner code."""
    return create_table_neighbour_code_to_surface_area(spacing)
