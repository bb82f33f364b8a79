"""The BIDS validator passes on what is written.

That is the one on PyPI, which knows derivatives by BIDS' schema; npm's `bids-validator` 1.x has no rules for them.
"""

import json
import shutil
import subprocess
import sys

import pytest

from lesions import nifti
from lesions.grid import Volume, template_grid
from lesions.phantom import make_subject
from serving.bids import find_scans
from serving.bids_app import group, participant

pytestmark = pytest.mark.slow
SPACE = "space-MNI152NLin2009aSym"
NAMES = (
    "sub-01/anat/sub-01_T1w.nii.gz",
    "sub-02/ses-1/anat/sub-02_ses-1_acq-mprage_run-1_T1w.nii.gz",
    f"sub-02/ses-2/anat/sub-02_ses-2_{SPACE}_T1w.nii.gz",
)


@pytest.fixture(scope="module")
def validator(tmp_path_factory):
    """The validator's program: an installed one, or one in an environment of its own."""
    if found := shutil.which("bids-validator-deno"):
        return found
    folder = tmp_path_factory.mktemp("validator")
    made = subprocess.run([sys.executable, "-m", "venv", folder], capture_output=True, text=True, check=False)
    pip = [folder / "bin/python", "-m", "pip", "install", "-q", "bids-validator-deno==3.0.2"]
    done = made if made.returncode else subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1]
        pytest.skip(f"bids-validator-deno is not here and cannot be installed: {reason}")
    return folder / "bin/bids-validator-deno"


def errors(validator, folder):
    done = subprocess.run([validator, folder, "--json"], capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    return [(issue["code"], issue["location"]) for issue in issues if issue["severity"] == "error"]


@pytest.fixture
def scans(tmp_path):
    for number, name in enumerate(NAMES):
        scan, _ = make_subject(number, 0, 6.0)
        nifti.write(tmp_path / "raw" / name, Volume(scan.data, scan.grid))
    return find_scans([tmp_path / "raw"])


def test_derivative(validator, tmp_path, scans, spy):
    out = tmp_path / "out"
    outcomes = list(participant(scans, out, spy(template_grid(6.0)), register="affine"))
    assert not any(outcome.error for outcome in outcomes)
    group(out)
    assert errors(validator, out) == []
    (out / ".bidsignore").unlink()
    assert {code for code, _ in errors(validator, out)} == {"NOT_INCLUDED"}


def test_submission(validator, tmp_path, scans, spy):
    out = tmp_path / "out"
    list(participant(scans, out, spy(template_grid(6.0)), bids_name="atlas2_prediction"))
    assert errors(validator, out) == []
    mask = out / f"sub-02/ses-2/anat/sub-02_ses-2_{SPACE}_label-L_mask.nii.gz"
    mask.rename(mask.with_name("sub-02_mask-L.nii.gz"))
    assert errors(validator, out)
