"""Does a scan lie in MNI space? Reslicing matches grids, it does not register (docs/spec/method.md#container)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy import ndimage, optimize

from lesions import nifti
from lesions.grid import SPACE, Grid, Volume, resample, template_grid

TEMPLATE = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"  # the brain alone, on the ATLAS grid
WORKING = 4.0  # mm; finer is slower and decides no better
# Working voxels: each voxel is judged against so wide a neighborhood, without bias field and scalp.
AROUND = 5.0
EVERY, SPARSE = 6, 24  # of the brain's working voxels one in so many is compared; in the first search
CELLS = (3, 2)  # parts of each half of the brain, from back to front and from below to above
DROPPED = 1  # cells that may be unlike on both sides
# The first search: shifts (mm) together up to FARTHEST, turns (degrees) about one axis.
SHIFTS, FARTHEST, TURNS = (-36.0, -18.0, 0.0, 18.0, 36.0), 45.0, (-20.0, 20.0, 180.0)
REACH = (20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 15.0)  # from there: mm, degrees, and about 2 % of size per unit
PRICE = 0.002  # of similarity for each mm: a long way that gains little proves nothing
NEAR, FAR = 10.0, 12.0  # mm: 5 mm or 5 degrees measure 2 to 9, 20 mm or 20 degrees 13 and more (phantoms)
# Similarity once moved into place: heads measure 0.7 and more, of something below ALIKE it is not sure that it is
# one, and what stays below UNLIKE is none.
ALIKE, UNLIKE = 0.62, 0.5

INSIDE, UNCERTAIN, OUTSIDE = "in MNI space", "uncertain", "not in MNI space"
REMEDY = f"register the scan to {SPACE} first"


@dataclass(frozen=True)
class MniCheck:
    """What `mni_check` found.

    Attributes:
        similarity: Of scan and template brain where the scan lies now, -1 to 1.
        best: The same once the template is moved over the scan.
        offset: How far it had to be moved, root mean square over the brain, mm.
    """

    similarity: float
    best: float
    offset: float

    @property
    def verdict(self) -> str:
        """INSIDE, UNCERTAIN or OUTSIDE."""
        if self.best >= ALIKE and self.offset <= NEAR:
            return INSIDE
        if self.best < UNLIKE or (self.best >= ALIKE and self.offset > FAR):
            return OUTSIDE
        return UNCERTAIN

    @property
    def flagged(self) -> bool:
        """True where a mask may be wrong for the scan's position."""
        return self.verdict != INSIDE

    @property
    def how(self) -> str:
        """The figures that the verdict rests on, in words."""
        if self.best < ALIKE:
            return (
                f"similarity {self.similarity:.2f} to the template, at best {self.best:.2f} when moved: "
                "far away, or no T1 scan of a head"
            )
        return (
            f"similarity {self.similarity:.2f} to the template, {self.best:.2f} when moved "
            f"by about {self.offset:.0f} mm"
        )

    @property
    def message(self) -> str:
        """One line for people: the verdict, how sure, and what to do."""
        return self.said(REMEDY)

    def said(self, remedy: str) -> str:
        """The message with another remedy."""
        if not self.flagged:
            return f"the scan lies in MNI space ({self.how})"
        sure = "is not" if self.verdict == OUTSIDE else "may not be"
        return f"the scan {sure} in MNI space ({self.how}): the mask may be wrong; {remedy}"


def mni_check(volume: Volume) -> MniCheck:
    """Measures how far a T1 scan lies from the MNI152 brain, with or without skull.

    The template is moved, turned and scaled over the scan until both are most alike; how far it had to go is
    the answer. A similarity alone would depend on contrast and noise. It is a correlation of evened
    intensities, taken in cells of the brain; of two cells that mirror each other the better one counts, so
    that a lesion of one half, however large, does not. A place far away must be clearly more alike (PRICE).

    Args:
        volume: Finite T1 intensities in any orientation and spacing.

    Returns:
        Similarities, offset and verdict. Left-right flips are not seen: heads are symmetric.
    """
    found = _search(volume)
    return MniCheck(found.similarity, found.best, _template(EVERY).offset(found.pose))


def rough_placement(volume: Volume) -> np.ndarray:
    """Where the head of a scan lies: what `mni_check` finds, and the same with the scan's middle on the brain's.

    The second finds scans whose header puts them far away, at a corner of theirs for instance.

    Args:
        volume: Finite T1 intensities in any orientation and spacing.

    Returns:
        (4, 4) from the scan's millimeters to the template's: shifts, turns and one size.
    """
    brain = _template(EVERY)
    candidates = []
    for shift in (np.zeros(3), brain.center - _middle(volume)):
        there = np.eye(4)
        there[:3, 3] = shift
        found = _search(Volume(volume.data, Grid.of(volume.grid.shape, there @ volume.grid.matrix)))
        candidates.append((found.best, np.linalg.inv(brain.matrix(found.pose)) @ there))
    return max(candidates, key=lambda c: c[0])[1]


class _Found(NamedTuple):
    """Similarity to the template as the scan lies and once the template is moved; the pose that moves it."""

    similarity: float
    best: float
    pose: np.ndarray


def _search(volume: Volume) -> _Found:
    scan, brain, sparse = _working_copy(volume), _template(EVERY), _template(SPARSE)
    to_voxels = np.linalg.inv(scan.grid.matrix)

    def similarity(matrix: np.ndarray, part: _Brain) -> float:
        matrix = to_voxels @ matrix
        places = matrix[:3, :3] @ part.points + matrix[:3, 3:]
        return part.similarity(ndimage.map_coordinates(scan.data, places, order=1, mode="constant"))

    def worth(pose: np.ndarray) -> float:
        return similarity(brain.matrix(pose), brain) - PRICE * brain.offset(pose)

    here = np.zeros(len(REACH))
    elsewhere = max(_poses(), key=lambda p: similarity(p.matrix, sparse) - p.price).pose
    starts = [here, elsewhere] if elsewhere.any() else [here]
    # The starts compete too: a line search can end below where it began.
    best = max((*starts, *(_refined(worth, start) for start in starts)), key=worth)
    now, moved = (similarity(brain.matrix(pose), brain) for pose in (here, best))
    return _Found(now, moved, best)


def _middle(volume: Volume) -> np.ndarray:
    """The middle of what is not background, mm."""
    some = volume.data[::4, ::4, ::4].astype(float)
    low, high = np.percentile(some, [1, 99])
    voxels = 4.0 * np.argwhere(some > low + 0.2 * (high - low))
    if not len(voxels):
        voxels = (np.array(volume.grid.shape) - 1.0)[None] / 2
    return volume.grid.matrix[:3, :3] @ voxels.mean(axis=0) + volume.grid.matrix[:3, 3]


class _Pose(NamedTuple):
    """Three shifts (mm), three turns (degrees) and a size; its (4, 4) matrix; what so long a way costs."""

    pose: np.ndarray
    matrix: np.ndarray
    price: float


@lru_cache(maxsize=1)
def _poses() -> tuple[_Pose, ...]:
    """Of the first search, nothing moved first of all; the same for every scan."""
    turns = [np.zeros(3), *(angle * np.eye(3)[axis] for axis in range(3) for angle in TURNS)]
    shifts = [np.array(s) for s in product(SHIFTS, repeat=3) if np.linalg.norm(s) <= FARTHEST]
    poses = [np.array([*shift, *turn, 0.0]) for shift in shifts for turn in turns]
    poses.sort(key=lambda pose: float(np.abs(pose).sum()))
    part = _template(SPARSE)
    return tuple(_Pose(pose, part.matrix(pose), PRICE * part.offset(pose)) for pose in poses)


def _refined(worth: Callable[[np.ndarray], float], start: np.ndarray) -> np.ndarray:
    """The best pose around a start."""
    found = optimize.minimize(
        lambda pose: -worth(pose),
        start,
        method="Powell",
        bounds=[(value - reach, value + reach) for value, reach in zip(start, REACH, strict=True)],
        options={"xtol": 0.3, "ftol": 1e-3, "maxiter": 4},
    )
    return np.asarray(found.x)


def _working_copy(volume: Volume) -> Volume:
    """The scan along its own axes at the working spacing, its brightest tissue (fat) capped, evened out."""
    zoom = WORKING / np.array(volume.grid.spacing)
    shape = tuple(int(n) for n in np.maximum(np.ceil(np.array(volume.grid.shape) / zoom), 2))
    matrix = volume.grid.matrix @ np.diag([*zoom, 1.0])
    matrix[:3, 3] += volume.grid.matrix[:3, :3] @ ((zoom - 1) / 2)
    coarse = resample(volume, Grid.of(shape, matrix))
    data = coarse.data - coarse.data.min()
    tissue = data[data > data.mean() / 2]
    if tissue.size:
        data = np.minimum(data, np.percentile(tissue, 80))
    return Volume(_even(data), coarse.grid)


def _even(data: np.ndarray) -> np.ndarray:
    """Each voxel against mean and spread of its neighborhood, smoothed: what is left is anatomy."""
    above = data - ndimage.gaussian_filter(data, AROUND)
    spread = np.sqrt(ndimage.gaussian_filter(above**2, AROUND))
    return ndimage.gaussian_filter(above / (spread + 0.1 * spread.max() + 1e-6), 1.0)


@dataclass(frozen=True, eq=False)
class _Brain:
    """Points of the template's brain, sorted by cell: those of the left half, then those of the right.

    Attributes:
        points: (3, n) mm.
        values: (n,) evened intensities, mean 0 and standard deviation 1 in each cell.
        starts: (cells,) number of each cell's first point.
        sizes: (cells,) points of each.
        center: (3,) mean of the points, mm.
        spread: (3, 3) their covariance, mm^2.
    """

    points: np.ndarray
    values: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    center: np.ndarray
    spread: np.ndarray

    def similarity(self, values: np.ndarray) -> float:
        """Mean correlation of the cells, of two that mirror each other the better, less the worst such pair."""
        mean, square, common = (
            np.add.reduceat(v, self.starts) / self.sizes for v in (values, values**2, values * self.values)
        )
        cells = common / np.sqrt(np.maximum(square - mean**2, 1e-12))
        return float(np.sort(cells.reshape(2, -1).max(axis=0))[DROPPED:].mean())

    def matrix(self, pose: np.ndarray) -> np.ndarray:
        """(4, 4) of shifts (mm), turns about the three axes (degrees) and size, about the center."""
        linear = np.eye(3) * np.exp(pose[6] / 50.0)
        for axis, angle in enumerate(np.deg2rad(pose[3:6])):
            turn = np.eye(3)
            first, second = (axis + 1) % 3, (axis + 2) % 3
            turn[[first, second], [first, second]] = np.cos(angle)
            turn[second, first], turn[first, second] = np.sin(angle), -np.sin(angle)
            linear = turn @ linear
        matrix = np.eye(4)
        matrix[:3, :3] = linear
        matrix[:3, 3] = pose[:3] + self.center - linear @ self.center
        return matrix

    def offset(self, pose: np.ndarray) -> float:
        """How far a pose moves the points, root mean square, mm."""
        change = self.matrix(pose)[:3, :3] - np.eye(3)
        return float(np.sqrt(np.trace(change @ self.spread @ change.T) + (pose[:3] ** 2).sum()))


@lru_cache(maxsize=2)
def _template(every: int) -> _Brain:
    """One in `every` working voxels of the template's brain."""
    coarse = _template_copy()
    voxels = np.argwhere(coarse.data > 0.1 * coarse.data.max())[::every]
    points = voxels @ coarse.grid.matrix[:3, :3].T + coarse.grid.matrix[:3, 3]
    center = points.mean(axis=0)
    cell = (points[:, 0] > center[0]).astype(int)
    for axis, parts in enumerate(CELLS, start=1):
        edges = np.quantile(points[:, axis], np.arange(1, parts) / parts)
        cell = cell * parts + np.searchsorted(edges, points[:, axis])
    order = np.argsort(cell, kind="stable")
    points, sizes = points[order], np.bincount(cell)
    values = _even(coarse.data)[tuple(voxels[order].T)].astype(float)
    values -= np.repeat([part.mean() for part in np.split(values, np.cumsum(sizes)[:-1])], sizes)
    values /= np.repeat([part.std() for part in np.split(values, np.cumsum(sizes)[:-1])], sizes)
    starts = np.cumsum(sizes) - sizes
    return _Brain(points.T.copy(), values, starts, sizes, center, np.cov(points.T, bias=True))


@lru_cache(maxsize=1)
def _template_copy() -> Volume:
    with as_file(files("nilearn.datasets.data") / TEMPLATE) as path:
        return resample(nifti.read(path), template_grid(WORKING))
