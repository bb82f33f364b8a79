"""`raxnet run --dry-run` before there are records; with them: tests/e2e/test_trainings.py."""

import json

import numpy as np
import pytest
import yaml

from lesions.checks import check_dataset
from lesions.dataset import discover
from lesions.ingest import read_subject, slices_of
from lesions.phantom import make_cohort
from pipeline import dry_run
from pipeline.cli.main import main
from tests.conftest import SMALLEST
from trainer import records

SUBJECTS, BATCH, EPOCHS = 9, 8, 3
TRAINING = {"batch_size": BATCH, "epochs": EPOCHS, "network_options": SMALLEST}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    make_cohort(folder, SUBJECTS, spacing=6.0, workers=1)
    return folder


def write(folder, data, **changes):
    content = {"data": str(data), "root": str(folder / "root"), "planes": ["axial"], "train_folds": [1, 2]}
    content |= {"split": {"folds": 3}, "training": TRAINING}
    (folder / "run.yaml").write_text(yaml.safe_dump(content | changes))
    return folder / "run.yaml"


def test_it_says_what_a_run_will_take_and_writes_nothing(data, tmp_path, capsys, monkeypatch):
    """Where all subjects are in the sample nothing is guessed but who is held out."""
    monkeypatch.setattr(dry_run, "SAMPLE", SUBJECTS)
    config = write(tmp_path, data)
    assert main(["run", str(config), "--dry-run", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert list(tmp_path.iterdir()) == [config]
    (row,) = said["trainings"]
    assert (said["subjects"], said["sampled"]) == (SUBJECTS, SUBJECTS)
    checked = check_dataset(discover(data), workers=1)
    lesions = size = 0
    for scan in checked.usable:
        image, mask = read_subject(scan, checked.grid)
        for plane in ("axial", "sagittal", "coronal"):
            for one in slices_of(scan.subject, image, mask, plane):
                size += len(records.encode(one)) + 16 + records.INDEX.itemsize
                lesions += plane == "axial" and one.lesion_voxels > 0
    trained = SUBJECTS - 2  # a fifth of nine is held out
    assert row["lesion_slices"] == round(lesions * trained / SUBJECTS * 2 / 3)
    assert row["steps"] == int(np.ceil(2 * row["lesion_slices"] / BATCH))
    assert (row["trainings"], row["epochs"]) == (2, 2 * EPOCHS)
    seconds = row["epochs"] * row["steps"] * BATCH / row["slices_per_second"]
    assert row["hours"] == pytest.approx(seconds / 3600)
    assert said["records_gb"] * 1e9 == pytest.approx(size * trained / SUBJECTS, rel=0.02)  # and entry.json


def test_a_sample_is_called_one(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(dry_run, "SAMPLE", 3)
    assert main(["run", str(write(tmp_path, data)), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert f"3 of the {SUBJECTS} subjects" in said
    assert "hours one training after the other" in said


def test_what_a_run_refuses_is_refused(data, tmp_path, capsys):
    config = write(tmp_path, data, split={"folds": 9})
    assert main(["run", str(config), "--dry-run"]) == 2
    assert "too few for a hold-out" in capsys.readouterr().err
