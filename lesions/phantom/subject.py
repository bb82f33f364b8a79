"""One synthetic subject from its number and the data set's seed."""

from __future__ import annotations

import numpy as np

from lesions.grid import Volume, template_grid
from lesions.phantom.anatomy import load_template, make_anatomy
from lesions.phantom.appearance import render
from lesions.phantom.lesions import Plan, draw_plan, grow_lesions

GENERATOR = 3  # raised whenever a seed's images change


def make_subject(index: int, seed: int = 0, spacing: float = 1.0) -> tuple[Volume, Volume]:
    """Makes one synthetic subject.

    Args:
        index: Number of the subject in the data set, from 0.
        seed: The data set's seed; it and `index` decide the subject, nothing else does.
        spacing: Edge of the voxels, mm.

    Returns:
        The T1-weighted scan (int16) and the lesion mask (uint8, 1 = lesion), on the ATLAS grid at `spacing`.
    """
    plan_rng, warp_rng, grow_rng, look_rng = np.random.default_rng(
        np.random.SeedSequence([seed, index])
    ).spawn(4)
    grid = template_grid(spacing)
    plan = draw_plan(plan_rng, volume_share(index, seed), grid.voxel_volume)
    anatomy = make_anatomy(load_template(spacing), warp_rng, _enlargement(plan, grid.voxel_volume, plan_rng))
    found, mask = grow_lesions(anatomy, plan, grow_rng)
    return Volume(render(anatomy, found, look_rng), grid), Volume(mask, grid)


def volume_share(index: int, seed: int) -> float:
    """Where a subject's lesion volume lies among ATLAS's, 0 to 1.

    Multiples of the golden ratio, modulo 1, fill the interval evenly at any number of subjects: a set of 20
    follows the quantiles already.
    """
    start = np.random.default_rng(seed).random()
    return float((start + index * (np.sqrt(5.0) - 1.0) / 2.0) % 1.0)


def _enlargement(plan: Plan, voxel_volume: float, rng: np.random.Generator) -> tuple[float, float]:
    """Outward shift of the left and right ventricle walls, mm; a large old lesion pulls its side along."""
    both = rng.uniform(-0.5, 3.5)
    sides = both + rng.normal(0.0, 0.5, 2)
    sides[0 if plan.side < 0 else 1] += min(sum(plan.voxels) * voxel_volume / 40000.0, 4.0) * rng.random()
    return float(sides[0]), float(sides[1])
