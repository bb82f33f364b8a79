"""Stroke lesions: how many, how large, where, and their shapes grown inside the brain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lesions.grid import Grid
from lesions.phantom.anatomy import Anatomy
from lesions.phantom.fields import Box, smooth_field
from lesions.phantom.territories import find_center

# Lesion volume per subject at these shares, mm^3: quantiles of ATLAS v2.0's 655 training subjects, computed
# from the lesion table that the method's authors published (1 mm voxels, so voxels are mm^3).
SHARES = (0.0, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5,
          0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.975, 1.0)  # fmt: skip
VOLUMES = (13, 84, 175, 380, 628, 949, 1170, 1531, 2044, 2785, 3992, 5290,
           7106, 9596, 15157, 25122, 36055, 52341, 72774, 106089, 152838, 223338, 496656)  # fmt: skip
# Share of subjects with 1, 2, ... lesions (26-connected), same table; its tail up to 33 is one entry.
COUNT_SHARES = (0.469, 0.208, 0.124, 0.081, 0.031, 0.023, 0.064)
# The smallest mask among the 655 has 13 voxels. A phantom's has no fewer, whatever its voxel size: what is less
# than that at 3 mm cannot be seen, so it is drawn at 13 voxels. A further lesion has 5 at least, or is left out.
SMALLEST, SMALLEST_FURTHER = 13, 5


@dataclass(frozen=True)
class Plan:
    """What a subject is to have.

    Attributes:
        voxels: Size of each lesion, largest first.
        side: -1 left, 1 right: the hemisphere of the main lesion.
        elsewhere: For each lesion, whether it lies in the other hemisphere.
    """

    voxels: tuple[int, ...]
    side: int
    elsewhere: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Lesion:
    """One lesion in the box `box` of the volume.

    Attributes:
        box: Slices of the volume.
        inside: How far inside the border, mm; negative outside. The mask is `inside` >= 0.
        radius: Of the sphere with the same volume, mm.
    """

    box: Box
    inside: np.ndarray
    radius: float


def lesion_volume(share: float) -> float:
    """Lesion volume, mm^3, below which lies a share of ATLAS v2.0's subjects; log-linear between quantiles."""
    return float(np.exp(np.interp(share, SHARES, np.log(VOLUMES))))


def draw_plan(rng: np.random.Generator, share: float, voxel_volume: float) -> Plan:
    """Draws sizes and sides from the real table's distributions, scaled to voxels of `voxel_volume` mm^3.

    Args:
        rng: Decides all but the total volume.
        share: The share of ATLAS's subjects that have less lesion than this one, 0 to 1.
        voxel_volume: mm^3.
    """
    total = max(lesion_volume(share) / voxel_volume, SMALLEST)
    count = 1 + int(rng.choice(len(COUNT_SHARES), p=COUNT_SHARES))
    if count == len(COUNT_SHARES):
        count += int(rng.geometric(0.35)) - 1
    side = int(rng.choice((-1, 1)))
    elsewhere = (False, *(rng.random(count - 1) < 0.3))
    main = rng.beta(4.0, 0.9) if count > 1 else 1.0  # median about 0.9, as in the table
    parts = (1.0 - main) * rng.dirichlet(np.ones(count - 1)) * total if count > 1 else np.array([])
    parts = np.sort(parts[parts >= SMALLEST_FURTHER])[::-1]
    voxels = (round(total - parts.sum()), *(round(p) for p in parts))
    return Plan(voxels, side, tuple(bool(e) for e in elsewhere[: len(voxels)]))


def grow_lesions(anatomy: Anatomy, plan: Plan, rng: np.random.Generator) -> tuple[list[Lesion], np.ndarray]:
    """Places and grows the planned lesions inside the brain's tissue.

    Returns:
        The lesions, and the mask of them all: uint8, 1 = lesion.
    """
    mask = np.zeros(anatomy.grid.shape, np.uint8)
    lesions = []
    for voxels, elsewhere, child in zip(
        plan.voxels, plan.elsewhere, rng.spawn(len(plan.voxels)), strict=True
    ):
        lesion = _grow(anatomy, voxels, -plan.side if elsewhere else plan.side, mask, child)
        mask[lesion.box] |= (lesion.inside >= 0).astype(np.uint8)
        lesions.append(lesion)
    return lesions, mask


def _grow(anatomy: Anatomy, voxels: int, side: int, taken: np.ndarray, rng: np.random.Generator) -> Lesion:
    volume = voxels * anatomy.grid.voxel_volume
    radius = float((3.0 * volume / (4.0 * np.pi)) ** (1.0 / 3.0))
    center, midline = find_center(anatomy, volume, side, taken, rng)
    box = _box_around(center, 2.4 * radius + 12.0, anatomy.grid)
    coarse = smooth_field(rng, anatomy.grid, max(0.8 * radius, 3.5), box)
    fine = smooth_field(rng, anatomy.grid, max(0.3 * radius, 3.0), box)
    score = _distance(anatomy, center, box, rng) + radius * (0.22 * coarse + 0.10 * fine)
    # Sulci inside a lesion belong to it, at a price.
    score += 0.35 * radius * (1.0 - np.minimum(anatomy.grey[box] + anatomy.white[box], 1.0))
    barred = (anatomy.depth[box] > -0.5) | (anatomy.ventricles[box] > 0.4) | (anatomy.t1[box] < 80.0)
    barred |= ndimage.binary_dilation(taken[box] > 0, np.ones((3, 3, 3)))
    if midline:
        barred |= side * anatomy.lateral[box] < 0
    return Lesion(box, _cut_to_size(score, barred, voxels), radius)


def _box_around(center: np.ndarray, reach: float, grid: Grid) -> Box:
    x, y, z = (
        slice(max(int((c - o - reach) / s), 0), int((c - o + reach) / s) + 2)
        for c, o, s in zip(center, grid.matrix[:3, 3], grid.spacing, strict=True)
    )
    return x, y, z


def _distance(anatomy: Anatomy, center: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
    """Distance from the center, mm, along randomly turned and stretched axes."""
    x, y, z = anatomy.coordinates()
    away = (x[box[0]] - center[0], y[:, box[1]] - center[1], z[:, :, box[2]] - center[2])
    stretch = np.exp(rng.normal(0.0, 0.2, 3))
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    matrix = (turn * stretch[:, None]).astype(np.float32)
    moved = np.tensordot(matrix, np.stack(np.broadcast_arrays(*away)), axes=1)
    return np.sqrt((moved.astype(np.float32) ** 2).sum(axis=0))


def _cut_to_size(score: np.ndarray, barred: np.ndarray, voxels: int) -> np.ndarray:
    """How far inside the border each voxel is, mm, where one connected piece of `voxels` voxels is inside."""
    score = np.where(barred, np.float32(1e6), score)
    order = np.sort(score[~barred])
    wanted = min(voxels, order.size)
    rank = wanted
    while True:
        level = order[rank - 1]
        labels, _ = ndimage.label(score <= level, np.ones((3, 3, 3)))
        sizes = np.bincount(labels.ravel())[1:]
        missing = wanted - int(sizes.max())
        if missing <= 0 or rank == order.size:
            break
        rank = min(rank + missing, order.size)
    inside = np.maximum(level - score, -1e3)
    islands = (inside >= 0) & (labels != 1 + int(sizes.argmax()))
    inside[islands] = -1e3  # not labeled, so not drawn either
    return np.asarray(inside, dtype=np.float32)
