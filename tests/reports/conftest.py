"""A small made-up run: 6 hold-out subjects with ellipsoid lesions on a 5 mm grid."""

import numpy as np
import pandas as pd
import pytest

from lesions.grid import Volume, template_grid
from lesions.metrics import SCORES
from lesions.nifti import write
from lesions.places import LESION_COLUMNS, approximate
from lesions.significance import compare
from lesions.slices import PLANES
from lesions.summaries import summary, with_category
from reports.content import Picture, RunReport, Training

GRID = template_grid(6.0)


def ellipsoid(center, radii):
    at = np.stack(np.meshgrid(*(np.arange(n) for n in GRID.shape), indexing="ij"), -1)
    return (((at - center) / radii) ** 2).sum(-1) <= 1


def write_subject(folder, subject, center, radii):
    rng = np.random.default_rng(1)
    head = ellipsoid([16, 19, 15], [13, 16, 12])
    truth = ellipsoid(center, radii)
    image = np.where(head, 600 - 300 * truth + rng.normal(0, 20, GRID.shape), 0).astype(np.float32)
    found = np.roll(truth, 1, axis=0)
    paths = [folder / f"{subject}_{name}.nii.gz" for name in ("T1w", "truth", "fused")]
    for path, data in zip(paths, (image, truth.astype(np.uint8), found.astype(np.uint8)), strict=True):
        write(path, Volume(data, GRID))
    dice = 2 * (truth & found).sum() / (truth.sum() + found.sum())
    paths.append(folder / f"{subject}_uncertainty.nii.gz")
    write(paths[3], Volume((0.8 * (truth ^ found)).astype(np.float32), GRID))
    return Picture(subject, *paths[:3], float(dice), paths[3]), int(truth.sum())


def make_history(epochs):
    at = np.arange(1, epochs + 1)
    return pd.DataFrame(
        {"epoch": at, "loss": 2 / at, "val_loss": 2.2 / at, "val_dice": 1 - 1 / at, "seconds": 61.0}
    )


def make_slices(subjects):
    """Counts before and after fusion: 3 slices with lesion and 2 without, of every subject and plane."""
    rng = np.random.default_rng(2)
    rows = []
    for subject in subjects:
        for plane in PLANES:
            for number, size in enumerate((40, 9, 90, 0, 0)):
                before, after = rng.binomial(size, 0.5), rng.binomial(size, 0.8)
                rows.append((subject, plane, number, size, before, 4, size - before, after, 1, size - after))
    counts = [f"{name}_{stage}" for stage in ("before", "after") for name in ("tp", "fp", "fn")]
    return pd.DataFrame(rows, columns=["subject", "plane", "slice", "lesion_voxels", *counts])


def make_slice_summary():
    """As FusionEvaluator writes it (docs/evaluation.md); the figures are any."""
    kept = ("mean", "sd_population", "median", "ci_low", "ci_high")
    rows = []
    for plane in PLANES:
        for kind, n in (("all", 30), ("lesion", 18)):
            for i, metric in enumerate(SCORES):
                row = {"plane": plane, "slices": kind, "metric": metric, "subjects": 6, "n": n}
                for stage, base in (("before", 0.5), ("after", 0.75), ("gain", 0.25)):
                    row |= {f"{stage}_{key}": base + 0.01 * i for key in kept}
                rows.append(row)
    return pd.DataFrame(rows)


def make_validation():
    """Two folds of every plane, the second one chosen."""
    figures = {"n": 200, "left_out": 0, "sd_population": 0.21, "sd_sample": 0.22, "median": 0.8, "q1": 0.6}
    figures |= {"q3": 0.9, "ci_low": 0.65, "ci_high": 0.77, "pooled": 0.83}
    rows = []
    for plane in PLANES:
        for fold in (1, 2):
            for kind, floor in (("published", 0.51), ("all", 0.82), ("lesion", 0.0), ("subjects", 0.0)):
                for i, metric in enumerate(SCORES):
                    row = {
                        "plane": plane,
                        "fold": fold,
                        "chosen": fold == 2,
                        "slices": kind,
                        "metric": metric,
                    }
                    row |= {
                        "mean": 0.7 + 0.01 * i + 0.02 * fold,
                        "floor": floor if metric == "dice" else np.nan,
                    }
                    rows.append(row | figures)
    return pd.DataFrame(rows)


def make_batches():
    rng = np.random.default_rng(3)
    parts = []
    for plane in PLANES:
        tv = rng.uniform(0.05, 0.1, 20)
        part = pd.DataFrame({"batch": range(1, 21), "n": 16, "tv": tv, "tv_shuffled": 2 * tv})
        known = {"plane": plane, "fold": 1, "batch_size": 32, "lesion_slices": 320, "minimum_tv": 0.05}
        parts.append(part.assign(**known))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="session")
def subjects(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    made = [write_subject(folder, f"sub-r001s{i:03d}", [10 + i, 18, 14], [1 + 0.4 * i] * 3) for i in range(6)]
    return [picture for picture, _ in made], [size for _, size in made]


@pytest.fixture
def parts(subjects):
    return make_parts(*subjects)


@pytest.fixture(scope="session")
def content(subjects):
    return RunReport(**make_parts(*subjects))


def make_parts(pictures, sizes):
    """The fields of a complete RunReport, to be changed by a test before it is made."""
    rng = np.random.default_rng(0)
    known = [f"sub-r001s{i:03d}" for i in range(24)]
    voxels = [*sizes, *rng.integers(5, 900, 18)]
    table = pd.DataFrame({"subject": known, "lesions": 1, "voxels": voxels, "largest": voxels})
    slices = pd.concat([table.assign(slice=i, voxels=rng.integers(1, 80, 24)) for i in range(5)])
    rows = [
        (p.subject, name, size, p.dice - loss, 0.7, 0.6, 3 + i)
        for i, (p, size) in enumerate(zip(pictures, sizes, strict=True))
        for name, loss in (("axial", 0.05), ("sagittal", 0.11), ("coronal", 0.08), ("fused", 0.0))
    ]
    sides, places = ("left", "right"), ("cortical", "subcortical", "other")
    lesions = [(s, 1, 9, sides[i % 2], places[i % 3], 1.0, 0.0, 0.0, 0.0) for i, s in enumerate(known)]
    counts = np.zeros(GRID.shape, np.uint16)
    counts[8:14, 12:20, 10:16] = 1
    counts[9:12, 14:18, 12] = 7
    names = ["subject", "prediction", "lesion_voxels", "dice", "recall", "precision", "volume_difference"]
    holdout = with_category(pd.DataFrame(rows, columns=names), "3d", GRID)
    scored = ("dice", "recall", "precision", "volume_difference")
    by_slice = make_slices([p.subject for p in pictures])
    return {
        "title": "A run",
        "statement": "Trained on 12 synthetic subjects.",
        "phantom": True,
        "dataset": {"name": "RAX-Net phantom (seed 0)", "subjects": 25},
        "findings": pd.DataFrame(
            [
                ["sub-r009s001", "scan.nii.gz", "truncated", "whole", "half", "copy again", "error"],
                ["sub-r001s000", "mask.nii.gz", "float mask", "0 or 1", "0 or 255", "nothing", "note"],
            ],
            columns=["subject", "file", "problem", "expected", "found", "remedy", "severity"],
        ),
        "grid": GRID,
        "tables_3d": table,
        "tables_plane": dict.fromkeys(PLANES, slices),
        "locations": approximate(pd.DataFrame(lesions, columns=LESION_COLUMNS[:-1])).summary(),
        "frequency": Volume(counts, GRID),
        "folds": pd.DataFrame({"subject": known, "fold": [0] * 6 + [1 + i % 3 for i in range(18)]}),
        "quality": pd.DataFrame(
            [(t, k, 6, 30, 0.01, 0.02, 0.7) for t in ("3d", *PLANES) for k in range(4)],
            columns=["table", "fold", "subjects", "n", "tv", "ks", "mwu_p"],
        ),
        "trainings": [Training(plane, 1, make_history(8), 6) for plane in PLANES],
        "batches": make_batches(),
        "validation": make_validation(),
        "holdout": holdout,
        "scores": summary(holdout, scored, ["prediction"], resamples=50),
        "by_category": summary(holdout, scored, ["prediction", "size_category"], resamples=50),
        "slice_summary": make_slice_summary(),
        "holdout_slices": by_slice,
        "comparison": compare(holdout, "dice", against="fused", resamples=50),
        "uncertainty": pd.DataFrame({"subject": [p.subject for p in pictures], "plane_disagreement": 0.25}),
        "gates": pd.DataFrame(
            [("mean 3-D Dice, fused", 0.1, 0.5, True)], columns=["gate", "threshold", "value", "passed"]
        ),
        "models": pd.DataFrame(
            [(p, "2", "raxnet", "focal_tversky", 4_837_473, True, "3") for p in PLANES],
            columns=["plane", "fold", "network", "loss", "parameters", "pushed", "version"],
        ),
        "release": {"release": "release-7", "versions": {"axial": "3"}},
        "pictures": pictures,
        "lineage": {
            "Data": {"SHA-256 of the data set": "218ff565"},
            "Seeds": {"split.seed": 4},
            "This page": {"device": "CPU, 2 cores"},
            "Packages": {"numpy": "1.26.4"},
        },
        "config": "folds: 3\n",
    }
