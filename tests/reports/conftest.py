"""A small made-up run: 6 hold-out subjects with ellipsoid lesions on a 5 mm grid."""

import numpy as np
import pandas as pd
import pytest

from lesions.grid import Volume, template_grid
from lesions.nifti import write
from lesions.places import LESION_COLUMNS, approximate
from lesions.slices import PLANES
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
    return Picture(subject, paths[0], paths[1], paths[2], float(dice)), int(truth.sum())


def make_history(epochs):
    at = np.arange(1, epochs + 1)
    return pd.DataFrame(
        {"epoch": at, "loss": 2 / at, "val_loss": 2.2 / at, "val_dice": 1 - 1 / at, "seconds": 61.0}
    )


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
    holdout = ["subject", "prediction", "lesion_voxels", "dice", "recall", "precision", "volume_difference"]
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
        "slice_metrics": pd.DataFrame(
            [(p, 1, "published", 200, 0.71, 0.72, 0.73) for p in PLANES],
            columns=["plane", "fold", "protocol", "n", "dice", "recall", "precision"],
        ),
        "holdout": pd.DataFrame(rows, columns=holdout),
        "gates": pd.DataFrame(
            [("mean 3-D Dice, fused", 0.1, 0.5, True)], columns=["gate", "threshold", "value", "passed"]
        ),
        "models": pd.DataFrame(
            [(p, 1, 3, True) for p in PLANES], columns=["plane", "fold", "version", "pushed"]
        ),
        "release": {"id": "release-7", "models": {"axial": 3}},
        "pictures": pictures,
        "run": {"device": "CPU, 2 cores", "packages": {"numpy": "1.26.4"}},
        "config": "folds: 3\n",
    }
