import json
import shutil
from importlib.resources import files

import nibabel as nib
import numpy as np
import pytest

from lesions import nifti
from lesions.grid import Volume, resample, template_grid
from lesions.mni import TEMPLATE
from pipeline.cli.main import main


@pytest.fixture
def root(tmp_path):
    """A cohort tree of three subjects; the third mask is empty."""
    for number in (1, 2, 3):
        subject = f"sub-r001s00{number}"
        anat = tmp_path / "data" / "Training" / "R001" / subject / "ses-1" / "anat"
        anat.mkdir(parents=True)
        image = np.random.default_rng(number).random((6, 7, 8), dtype=np.float32)
        mask = np.zeros((6, 7, 8), np.uint8)
        mask[2:4, 3, 3:5] = number < 3
        for data, name in ((image, "T1w"), (mask, "label-L_desc-T1lesion_mask")):
            nib.save(nib.Nifti1Image(data, np.eye(4)), anat / f"{subject}_ses-1_{name}.nii.gz")
    return tmp_path / "data"


def test_table_names_file_and_remedy(root, capsys):
    assert main(["check", str(root)]) == 0
    out = capsys.readouterr().out
    assert "error: empty mask, 1 file; mend the mask, or leave the subject out\n" in out
    assert "sub-r001s003_ses-1_label-L_desc-T1lesion_mask.nii.gz  at least one lesion voxel  none\n" in out
    assert "3 scans, 3 with a lesion mask, 2 usable, 1 put aside" in out


def test_gravest_and_most_frequent_first(root, capsys):
    main(["check", str(root)])
    kinds = [line.split(",")[0] for line in capsys.readouterr().out.splitlines() if ";" in line]
    assert kinds == ["error: empty mask", "warning: not in MNI space"]  # noise is no head


def test_strict_stops_at_errors_and_warnings_but_not_at_notes(root, tmp_path):
    assert main(["check", str(root), "--strict"]) == 2
    shutil.rmtree(next(root.glob("Training/R001/sub-r001s003")))
    assert main(["check", str(root), "--strict"]) == 2  # noise is no head
    brain = resample(nifti.read(files("nilearn.datasets.data") / TEMPLATE), template_grid(10.0))
    mask = (brain.data > 200).astype(np.uint8)
    for suffix, data in (("T1w", brain.data), ("label-L_desc-T1lesion_mask", mask * np.uint8(255))):
        path = tmp_path / "brain" / "sub-1" / "anat" / f"sub-1_{suffix}.nii.gz"
        nifti.write(path, Volume(data, brain.grid))
    assert main(["check", str(tmp_path / "brain"), "--strict"]) == 0


def test_many_findings_of_a_kind_are_counted(root, capsys):
    first = next(root.glob("Training/R001/sub-*"))
    for number in range(100, 140):
        subject = f"sub-r001s{number}"
        copy = shutil.copytree(first, first.with_name(subject))
        for path in sorted(copy.rglob("*.nii.gz")):
            path = path.rename(path.with_name(path.name.replace(first.name, subject)))
            path.write_bytes(b"")
    assert main(["check", str(root)]) == 0
    short = capsys.readouterr().out
    assert "error: not readable as NIfTI, 80 files; copy or download it again" in short
    assert "  and 70 more (--all lists them)" in short
    assert len(short.splitlines()) < 30
    assert main(["check", str(root), "--all"]) == 0
    whole = capsys.readouterr().out
    assert whole.count("sub-r001s139") >= 2
    assert "more (" not in whole


def test_json(root, capsys):
    assert main(["check", str(root), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["usable"] == ["sub-r001s001", "sub-r001s002"]
    assert content["put_aside"] == ["sub-r001s003 ses-1"]
    (finding,) = [f for f in content["findings"] if f["severity"] == "error"]
    assert finding["problem"] == "empty mask"
    assert finding["session"] == "ses-1"


def test_nothing_usable_still_shows_the_table(root, capsys):
    for mask in root.rglob("*mask.nii.gz"):
        mask.write_bytes(b"Salted__ and more")
    assert main(["check", str(root)]) == 2
    assert capsys.readouterr().out.count("encrypted") >= 3


def test_no_data_set_is_one_line(tmp_path, capsys):
    assert main(["check", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("raxnet check: ")
