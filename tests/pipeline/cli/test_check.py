import json

import nibabel as nib
import numpy as np
import pytest

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
    assert "sub-r001s003_ses-1_label-L_desc-T1lesion_mask.nii.gz  empty mask" in out
    assert "mend the mask" in out
    assert "3 scans, 3 with a lesion mask, 2 usable" in out


def test_strict(root):
    assert main(["check", str(root), "--strict"]) == 2


def test_json(root, capsys):
    assert main(["check", str(root), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["usable"] == ["sub-r001s001", "sub-r001s002"]
    (finding,) = content["findings"]
    assert finding["problem"] == "empty mask"
    assert finding["severity"] == "error"


def test_nothing_usable_still_shows_the_table(root, capsys):
    for mask in root.rglob("*mask.nii.gz"):
        mask.write_bytes(b"Salted__ and more")
    assert main(["check", str(root)]) == 2
    assert capsys.readouterr().out.count("encrypted") >= 3


def test_no_data_set_is_one_line(tmp_path, capsys):
    assert main(["check", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("raxnet check: ")
