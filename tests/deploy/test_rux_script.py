"""The program of the method's container, outside a container: what it takes, and what it refuses."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy/docker/rux/rux.py"


@pytest.fixture
def here(tmp_path):
    """A folder as the image has it."""
    for name in ("data", "trained_models"):
        (tmp_path / name).mkdir()
    shutil.copyfile(SCRIPT, tmp_path / "rux.py")
    return tmp_path


def rux(here, *words):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, here / "rux.py", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("import", "rux: no weights: put axial.h5, sagittal.h5 and coronal.h5 into trained_models/"),
        ("check", "rux: no scan: put .nii or .nii.gz files into data/"),
        ("segment", "rux: /results is not there"),
        ("serve", "rux: serve: expected import, check, segment"),
    ],
)
def test_what_is_missing_is_said_in_a_line(here, action, said):
    done = rux(here, action)
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


def test_scans_of_subfolders_count_and_become_readable_and_masks_do_not_count(here):
    (here / "data/clinic").mkdir(mode=0o700)
    for name in ("a.nii.gz", "clinic/a.nii", "clinic/a_mask.nii.gz", "clinic/notes.txt"):
        (here / "data" / name).touch(mode=0o600)
    done = rux(here, "check")
    assert (done.returncode, done.stdout) == (0, "2 scans in data/\n")
    assert (here / "data/clinic/a.nii").stat().st_mode & 0o777 == 0o644
    assert (here / "data/clinic").stat().st_mode & 0o777 == 0o755
