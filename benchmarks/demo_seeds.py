"""Tabulates finished demos of several seeds: python benchmarks/demo_seeds.py DEMO...

Each folder is one that `./dev demo --seed S --out DEMO` left. Printed are the hold-out's mean 3-D Dice of every plane
and fused, the median over the seeds, and the fused Dice by lesion size over all subjects together.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import yaml

from pipeline.local_runner import newest

SIZES = (0, 50, 100, 500, float("inf"))  # voxels
NAMES = ("below 50", "50 to 99", "100 to 499", "500 or more")


def read(demo: Path) -> pd.DataFrame:
    """The hold-out's scores of a demo, a row per subject and prediction, with its seed."""
    seed = yaml.safe_load((demo / "config.yaml").read_text())["training"]["seed"]
    return pd.read_csv(newest(demo, "FusionEvaluator/evaluation", "holdout.csv")).assign(seed=seed)


def by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean Dice of each seed's planes and fusion, with n and the fusion's standard deviation."""
    table = rows.pivot_table(index="seed", columns="prediction", values="dice", aggfunc="mean")
    fused = rows[rows["prediction"] == "fused"].groupby("seed")["dice"]
    return table[["axial", "sagittal", "coronal", "fused"]].assign(sd=fused.std(), n=fused.size())


def by_size(rows: pd.DataFrame) -> pd.DataFrame:
    """Fused Dice of all seeds' subjects by lesion size: n, mean, median, and how many stay below 0.1."""
    fused = rows[rows["prediction"] == "fused"]
    size = pd.cut(fused["lesion_voxels"], SIZES, labels=NAMES, right=False)
    groups = fused.groupby(size, observed=False)["dice"]
    missed = groups.apply(lambda dice: int((dice < 0.1).sum()))
    return pd.DataFrame(
        {"n": groups.size(), "mean": groups.mean(), "median": groups.median(), "missed": missed}
    )


if __name__ == "__main__":
    found = pd.concat([read(Path(argument)) for argument in sys.argv[1:]])
    seeds = by_seed(found)
    print("Phantom figures: mean 3-D Dice of the hold-out\n")
    print(seeds.round(3).to_string())
    print(f"\nmedian of the {len(seeds)} seeds' fused means: {seeds['fused'].median():.3f}\n")
    print(by_size(found).round(3).to_string())
