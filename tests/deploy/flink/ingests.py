"""The ingest of some made-up subjects, on any Beam runner."""

import numpy as np
import pandas as pd
from tfx.types import standard_artifacts

from components import artifacts
from components.nifti_example_gen import Executor
from lesions import nifti
from lesions.dataset import Scan
from lesions.grid import Grid, Volume
from lesions.manifest import Manifest
from lesions.slices import PLANES
from lesions.statistics import compute_tables

SHAPE = (80, 96, 80)
GRID = Grid.of(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0]))
SUBJECTS = 32


def write_scans(folder):
    """Scans that differ, and compress well."""
    made = []
    for number in range(SUBJECTS):
        subject = f"sub-r001s{number:03d}"
        data = np.zeros(SHAPE, np.int16)
        data[8:-8, 8:-8, 6:-6] = 100 + number + np.arange(SHAPE[0] - 16)[:, None, None] % 7
        mask = np.zeros(SHAPE, np.uint8)
        mask[20 : 23 + number % 9, 30:40, 20:31] = 1
        scan = Scan(subject, "", folder / f"{subject}_T1w.nii.gz", folder / f"{subject}_mask.nii.gz")
        nifti.write(scan.image, Volume(data, GRID))
        nifti.write(scan.mask, Volume(mask, GRID))
        made.append(scan)
    compute_tables(made).write(folder / "tables")
    return made


def artifact(kind, uri):
    made = kind()
    made.uri = str(uri)
    return [made]


def ingest(folder, scans, arguments):
    """Runs the component's executor with Beam's arguments; three folds."""
    Manifest("made up", False, "cohort", "0", GRID, tuple(scans), (), ()).write(folder / "manifest")
    (folder / "folds").mkdir(parents=True)
    folds = {"subject": [scan.subject for scan in scans], "fold": [1 + n % 3 for n in range(len(scans))]}
    pd.DataFrame(folds).to_csv(folder / "folds/folds.csv", index=False)
    inputs = {
        "manifest": artifact(artifacts.Manifest, folder / "manifest"),
        "fold_map": artifact(artifacts.FoldMap, folder / "folds"),
        "tables": artifact(artifacts.LesionTables, scans[0].image.parent / "tables"),
    }
    outputs = {f"examples_{p}": artifact(standard_artifacts.Examples, folder / p) for p in PLANES}
    context = Executor.Context(beam_pipeline_args=list(arguments), tmp_dir=str(folder / "tmp"), unique_id="1")
    Executor(context).Do(inputs, outputs, {"store": str(folder / "store"), "record_code": "x", "code": "x"})


def contents(folder):
    """Every file of records, by plane and name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for plane in PLANES
        for path in (folder / plane).rglob("*")
        if path.is_file()
    }


def shards(folder):
    """How many subjects are done."""
    return len(list((folder / PLANES[-1]).glob("Split-*/*.tfrecord")))
