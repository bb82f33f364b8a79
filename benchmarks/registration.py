"""How well scans are laid onto the template: python benchmarks/registration.py [--subjects N] [--spacing MM].

Each phantom is registered as it is and after a random motion: shifts up to 40 mm together, turns up to 20 degrees about
each axis, sizes and shear of some percent; every second one with its brain alone. The phantom's own shape is known: it
was made by a warp of the template, of which the affine part is what registration can find at best.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import ndimage

from lesions.grid import ATLAS_ORIGIN, Grid, Volume, resample, template_grid
from lesions.mni import mni_check
from lesions.phantom import anatomy, subject
from lesions.template import read_template
from serving import registration

SEED = 100


def motion(rng: np.random.Generator) -> np.ndarray:
    """(4, 4), mm."""
    linear = np.diag(1 + rng.uniform(-0.08, 0.08, 3))
    linear[0, 1] = rng.uniform(-0.04, 0.04)
    for axis, angle in enumerate(np.deg2rad(rng.uniform(-20, 20, 3))):
        turn, (first, second) = np.eye(3), ((axis + 1) % 3, (axis + 2) % 3)
        turn[[first, second], [first, second]] = np.cos(angle)
        turn[second, first], turn[first, second] = np.sin(angle), -np.sin(angle)
        linear = turn @ linear
    matrix, shift = np.eye(4), rng.normal(size=3)
    matrix[:3, :3] = linear
    matrix[:3, 3] = shift / np.linalg.norm(shift) * rng.uniform(0, 40)
    return matrix


def known_shape(index: int, spacing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """A phantom's brain voxels (X, Y, Z), their places (4, n), mm, its warp's affine part (4, 4), and the rest, mm."""
    plan_rng, warp_rng, *_ = np.random.default_rng(np.random.SeedSequence([SEED, index])).spawn(4)
    grid = template_grid(spacing)
    plan = subject.draw_plan(plan_rng, subject.volume_share(index, SEED), grid.voxel_volume)
    enlarged = subject._enlargement(plan, grid.voxel_volume, plan_rng)
    shown = anatomy._sampling_points(anatomy.load_template(spacing), warp_rng, enlarged)
    brain = ndimage.map_coordinates(read_template("t1").data, shown, order=0) > 10
    places = grid.matrix @ np.c_[np.argwhere(brain), np.ones(brain.sum())].T
    target = shown[:, brain] + np.array(ATLAS_ORIGIN)[:, None]
    shape = np.eye(4)
    shape[:3] = np.linalg.lstsq(places.T, target.T, rcond=None)[0].T
    rest = np.sqrt((((shape @ places)[:3] - target) ** 2).sum(axis=0).mean())
    return brain, places, shape, float(rest)


def distance(first: np.ndarray, second: np.ndarray, places: np.ndarray) -> float:
    """Root mean square over the brain, mm."""
    return float(np.sqrt((((first - second) @ places)[:3] ** 2).sum(axis=0).mean()))


def rows(index: int, spacing: float) -> Iterator[dict[str, object]]:
    """Registers one phantom twice."""
    scan, _ = subject.make_subject(index, SEED, spacing)
    brain, places, shape, rest = known_shape(index, spacing)
    data = scan.data.astype(np.float32)
    if index % 2:
        data = np.where(brain, data, np.float32(0))
    move = motion(np.random.default_rng([SEED, index]))
    still = registration.register(Volume(data, scan.grid))
    start = time.process_time()
    found = registration.register(Volume(data, Grid.of(data.shape, move @ scan.grid.matrix)))
    seconds = time.process_time() - start
    check = mni_check(Volume(data, Grid.of(data.shape, found @ move @ scan.grid.matrix)))
    yield {
        "scan": "brain alone" if index % 2 else "head",
        "moved": distance(move, np.eye(4), places),
        "from the unmoved": distance(found @ move, still, places),
        "from the known shape": distance(found @ move, shape, places),
        "warp beside it": rest,
        "in MNI space": not check.flagged,
        "seconds": seconds,
    }


def main() -> None:
    """Prints medians and worst cases."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--subjects", type=int, default=40)
    parser.add_argument("--spacing", type=float, default=2.0, help="mm (default: 2)")
    args = parser.parse_args()
    resample(read_template("t1"), template_grid(4.0))  # read once; not timed
    frame = pd.DataFrame([row for index in range(args.subjects) for row in rows(index, args.spacing)])
    print(f"Phantoms at {args.spacing:g} mm; root mean square over the brain, mm\n")
    for name, group in frame.groupby("scan"):
        print(f"{name}: n = {len(group)}, {int(group['in MNI space'].sum())} in MNI space once registered")
        for column in ("moved", "from the unmoved", "from the known shape", "warp beside it", "seconds"):
            values = group[column]
            print(f"  {column:22s} median {values.median():7.2f}   most {values.max():7.2f}")


if __name__ == "__main__":
    main()
