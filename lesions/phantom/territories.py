"""Where a lesion begins: deep nuclei, cortex, brainstem or cerebellum."""

from __future__ import annotations

import numpy as np

from lesions.phantom.anatomy import Anatomy

LACUNE = 1500.0  # mm^3; smaller lesions begin in deep nuclei or white matter
# Share of deep lesions at three volumes, mm^3; with the volumes of the real table about a third are deep, as in
# ATLAS v2.0's metadata (subcortical 37 %, brainstem and pons 3 %, cerebellum 2 %: docs/spec/method.md#data-set).
_VOLUMES, _DEEP = (1000.0, 5000.0, 30000.0), (0.75, 0.45, 0.1)
_BRAINSTEM, _CEREBELLUM, _MIDDLE_CEREBRAL = 0.04, 0.03, 0.75
_LARGEST_BRAINSTEM, _LARGEST_CEREBELLAR = 8000.0, 25000.0  # mm^3


def find_center(
    anatomy: Anatomy, volume: float, side: int, taken: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, bool]:
    """Draws the voxel in which a lesion begins.

    Args:
        anatomy: The subject's maps.
        volume: Lesion volume, mm^3: large ones are cortical, small ones mostly deep.
        side: -1 left, 1 right.
        taken: Mask of the lesions that are there already.
        rng: Decides.

    Returns:
        The center in mm, and whether the midline bounds the lesion (it does in the hemispheres).
    """
    tissue = (anatomy.depth < -2.0) & (anatomy.ventricles < 0.2) & (anatomy.t1 > 125.0) & (taken == 0)
    draw = rng.random()
    if volume < _LARGEST_BRAINSTEM and draw < _BRAINSTEM:
        where, midline = tissue & _brainstem(anatomy), False
    elif volume < _LARGEST_CEREBELLAR and draw < _BRAINSTEM + _CEREBELLUM:
        where, midline = tissue & _cerebellum(anatomy, side), False
    elif rng.random() < np.interp(np.log(volume), np.log(_VOLUMES), _DEEP):
        where, midline = tissue & _deep(anatomy, side), True
    else:
        where, midline = tissue & _cortex(anatomy, side, rng.random() < _MIDDLE_CEREBRAL), True
        if volume < LACUNE:
            where &= anatomy.white > 0.7
    found = np.flatnonzero(where)
    if found.size == 0:
        found = np.flatnonzero(tissue)
    index = np.unravel_index(int(rng.choice(found)), anatomy.grid.shape)
    matrix = anatomy.grid.matrix
    return matrix[:3, :3] @ np.array(index) + matrix[:3, 3], midline


def _brainstem(anatomy: Anatomy) -> np.ndarray:
    x, y, z = anatomy.coordinates()
    return (abs(x) < 12) & (y > -42) & (y < -12) & (z < -12) & (anatomy.depth < -8.0)


def _cerebellum(anatomy: Anatomy, side: int) -> np.ndarray:
    x, y, z = anatomy.coordinates()
    return (y < -48) & (z < -22) & (side * x > 5)


def _deep(anatomy: Anatomy, side: int) -> np.ndarray:
    x, y, z = anatomy.coordinates()
    box = (side * x > 8) & (side * x < 36) & (y > -45) & (y < 35) & (z > -8) & (z < 36)
    return box & (anatomy.depth < -14.0)


def _cortex(anatomy: Anatomy, side: int, middle_cerebral: bool) -> np.ndarray:
    """Cortex and the white matter under it, anywhere or in the middle cerebral artery's territory."""
    x, y, z = anatomy.coordinates()
    where = (side * x > 12) & (z > -25) & (anatomy.depth > -22.0)
    return where & (side * x > 26) & (y > -70) & (y < 45) if middle_cerebral else where
