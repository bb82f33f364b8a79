"""How often the check of MNI space is right: python benchmarks/mni_check.py [--subjects N] [--spacing MM].

Phantoms of several seeds, as they are (in place), and every second one moved within its grid, by 5 (to be accepted) and
by 20 mm or degrees (to be flagged); each with the head around the brain, and the brain alone. With `--image FILE`, a
scan that lies in MNI space takes the place of the phantoms and is moved along and about every axis.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from functools import partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

from lesions import mni, nifti
from lesions.grid import Grid, Volume, resample, template_grid
from lesions.parallel import map_subjects
from lesions.phantom import make_subject

SEEDS = 4
LARGE = 100_000.0  # mm^3 of lesion
WAYS = [(kind, axis, sign) for axis in range(3) for kind in ("mm", "degrees") for sign in (1, -1)]
VERDICTS = (mni.INSIDE, mni.UNCERTAIN, mni.OUTSIDE)


def moved(volume: Volume, way: tuple[str, int, int], amount: float) -> Volume:
    """The head moved along or turned about an axis (through the origin) on a grid that stays where it is."""
    kind, axis, sign = way
    matrix = np.eye(4)
    if kind == "mm":
        matrix[axis, 3] = sign * amount
    else:
        first, second = (axis + 1) % 3, (axis + 2) % 3
        angle = np.deg2rad(sign * amount)
        matrix[[first, second], [first, second]] = np.cos(angle)
        matrix[second, first], matrix[first, second] = np.sin(angle), -np.sin(angle)
    there = Grid.of(volume.grid.shape, matrix @ volume.grid.matrix)
    return resample(Volume(volume.data, there), volume.grid)


def brain_alone(volume: Volume) -> Volume:
    """What lies within the template's brain, 0 elsewhere."""
    template = resample(nifti.read(files("nilearn.datasets.data") / mni.TEMPLATE), volume.grid)
    return Volume(np.where(template.data > 0, volume.data, 0), volume.grid)


def cases(subject: Volume, ways: list[tuple[str, int, int]]) -> Iterator[tuple[str, str, Volume]]:
    """What was done, with or without head, and the scan."""
    for around, volume in (("head", subject), ("brain alone", brain_alone(subject))):
        yield "in place", around, volume
        for amount in (5, 20):
            for way in ways:
                yield f"{amount} {way[0]} off", around, moved(volume, way, amount)


def judge(number: int, spacing: float) -> list[dict[str, object]]:
    """Rows of one phantom; every second is also moved, along and about an axis that changes with it."""
    index, seed = divmod(number, SEEDS)
    scan, mask = make_subject(index, 100 + seed, spacing)
    lesion = float(mask.data.sum()) * mask.grid.voxel_volume
    pair = index // 2 % 6
    ways = [w for w in WAYS if w[1] == pair % 3 and w[2] == (1 if pair < 3 else -1)]
    volume = Volume(scan.data.astype(np.float32), scan.grid)
    return rows(volume, [] if index % 2 else ways, lesion)


def rows(scan: Volume, ways: list[tuple[str, int, int]], lesion: float) -> list[dict[str, object]]:
    """A row per case: what was done, verdict, figures, seconds of the processor."""
    found = []
    for done, around, volume in cases(scan, ways):
        start = time.process_time()
        check = mni.mni_check(volume)
        seconds = time.process_time() - start
        facts = {"best": check.best, "offset": check.offset, "seconds": seconds}
        found.append({"done": done, "scan": around, "lesion": lesion, "verdict": check.verdict, **facts})
    return found


def table(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """n, verdicts, extremes of similarity and offset, by what was done."""
    groups = frame.groupby(by, sort=False)
    counts = {
        verdict: groups["verdict"].agg(lambda v, x=verdict: int((v == x).sum())) for verdict in VERDICTS
    }
    extremes = {
        "least similarity": groups["best"].min().round(2),
        "offset, mm": groups["offset"].agg(lambda v: f"{v.min():.1f} to {v.max():.1f}"),
    }
    return pd.DataFrame({"n": groups.size(), **counts, **extremes}).reset_index()


def main() -> None:
    """Prints the table, the one of large lesions, and the cost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--subjects", type=int, default=200)
    parser.add_argument("--spacing", type=float, default=3.0, help="mm (default: 3)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--image", type=Path, help="a scan in MNI space instead of phantoms")
    args = parser.parse_args()
    mni.mni_check(template_scan())  # the template is read once in a process; that is not timed
    if args.image:
        scan = nifti.canonical(nifti.read(args.image))
        scan = resample(scan, template_grid(args.spacing))
        found = rows(scan, WAYS, 0.0)
        print(f"{args.image.name} at {args.spacing:g} mm, moved along and about every axis, both ways\n")
    else:
        work = range(args.subjects)
        parts = map_subjects(partial(judge, spacing=args.spacing), work, str, args.workers)
        found = [row for part in parts for row in part]
        print(f"Phantoms at {args.spacing:g} mm, {SEEDS} seeds\n")
    frame = pd.DataFrame(found)
    print(table(frame, ["done", "scan"]).to_string(index=False))
    large = frame[frame["lesion"] >= LARGE]
    if len(large):
        most = large["lesion"].max() / 1000
        print(f"\nOf them with a lesion of {LARGE / 1000:.0f} ml or more, the largest {most:.0f} ml\n")
        print(table(large, ["done"]).to_string(index=False))
    seconds = frame["seconds"]
    print(f"\nprocessor seconds for a check: median {seconds.median():.2f}, most {seconds.max():.2f}")


def template_scan() -> Volume:
    """The template itself, at 4 mm."""
    return resample(nifti.read(files("nilearn.datasets.data") / mni.TEMPLATE), template_grid(4.0))


if __name__ == "__main__":
    main()
