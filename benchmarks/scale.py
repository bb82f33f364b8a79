"""What a large data set asks of the steps that see all subjects at once: python benchmarks/scale.py [SUBJECTS ...].

Tables of so many subjects are made up (no scans): lesion volumes as skewed as ATLAS's. Timed, each number in a process
of its own with its peak memory: the fold map and its quality, a training's slices, one epoch's batch plan of a plane.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from lesions import batches, folds
from lesions.slices import PLANES
from lesions.statistics import Tables

SLICES = {"axial": 189, "sagittal": 197, "coronal": 233}
FILLED, WITH_LESION = 0.8, 25  # share of slices that are not background; mean number with lesion


def made_up(subjects: int) -> Tables:
    """Tables of a cohort without scans."""
    rng = np.random.default_rng(0)
    names = np.array([f"sub-{i:06d}" for i in range(subjects)])
    voxels = np.maximum(10, rng.lognormal(8.5, 1.8, subjects)).astype(int)
    whole = pd.DataFrame({"subject": names, "lesions": 1, "voxels": voxels, "largest": voxels})
    planes, slices = {}, {}
    for plane in PLANES:
        count = SLICES[plane]
        extent = np.clip(rng.poisson(WITH_LESION, subjects), 1, count // 2)
        table = pd.DataFrame(
            {"subject": np.repeat(names, count), "slice": np.tile(np.arange(count), subjects)}
        )
        index = table["slice"].to_numpy()
        reach = np.repeat(extent, count)
        lesion = np.where(index - count // 4 < reach, index >= count // 4, False)
        size = np.maximum(1, np.repeat(voxels // extent, count))
        table["nonzero"] = np.where(index < FILLED * count, 10_000, 0)
        table["lesion_voxels"] = np.where(lesion, size, 0)
        slices[plane] = table
        found = table[table["lesion_voxels"] > 0]
        planes[plane] = found[["subject", "slice"]].assign(
            lesions=1, voxels=found["lesion_voxels"], largest=found["lesion_voxels"]
        )
    return Tables(whole, planes, slices)


def measured(subjects: int) -> None:
    """Prints a line of seconds and peak memory."""

    def timed(work: Callable[[], object]) -> tuple[float, object]:
        start = time.perf_counter()
        found = work()
        return time.perf_counter() - start, found

    tables = made_up(subjects)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    mapping, table = timed(lambda: folds.make_folds(tables, 5, 0.2, 0))
    judging, _ = timed(lambda: folds.quality(tables, table))
    choosing, rows = timed(lambda: batches.training_slices(tables, table, "axial", 1))
    planning, plan = timed(lambda: batches.plan(rows["category"].to_numpy(), 32, 0, 0))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{subjects:6d} subjects: fold map {mapping:.1f} s, its quality {judging:.1f} s, a training's slices "
        f"{choosing:.1f} s, an epoch's plan {planning:.2f} s "
        f"({len(plan)} batches); peak {peak:,.0f} MiB, {base:,.0f} with the tables alone",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("subjects", type=int, nargs="*", default=[655, 6550, 65500])
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        measured(given.child)
        return
    for subjects in given.subjects:
        subprocess.run([sys.executable, __file__, "--child", str(subjects)], check=True)


if __name__ == "__main__":
    main()
