"""NiftiExampleGen refuses before it writes where the records would not fit."""

import collections
import shutil

import numpy as np
import pandas as pd
import pytest
from tfx.types import standard_artifacts

from components import artifacts
from components.nifti_example_gen import Executor
from lesions.dataset import Scan
from lesions.errors import InputError
from lesions.grid import Grid
from lesions.manifest import Manifest
from lesions.slices import PLANES


def artifact(kind, uri):
    made = kind()
    made.uri = str(uri)
    return made


def test_a_disk_that_is_too_full(tmp_path, monkeypatch):
    scan = Scan("sub-r001s001", "ses-1", tmp_path / "a_T1w.nii.gz", tmp_path / "a_mask.nii.gz")
    grid = Grid.of((197, 233, 189), np.eye(4))
    Manifest("ATLAS", False, "cohort", "0", grid, (scan,), (), ()).write(tmp_path / "manifest")
    (tmp_path / "folds").mkdir()
    pd.DataFrame({"subject": [scan.subject], "fold": [1]}).to_csv(tmp_path / "folds/folds.csv", index=False)
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    inputs = {
        "manifest": [artifact(artifacts.Manifest, tmp_path / "manifest")],
        "fold_map": [artifact(artifacts.FoldMap, tmp_path / "folds")],
    }
    outputs = {f"examples_{p}": [artifact(standard_artifacts.Examples, tmp_path / p)] for p in PLANES}
    with pytest.raises(InputError, match=r"needs about 0\.1 GB, found 0\.0 GB free; free some space"):
        Executor().Do(inputs, outputs, {"code": "x"})
    assert not (tmp_path / "axial").exists()
