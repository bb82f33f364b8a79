"""The challenge's folder: its name where its evaluation looks for it, one mask for each scan, and nothing else."""

import json

import nibabel as nib
import numpy as np
import pytest

from lesions import nifti
from lesions.errors import InputError
from lesions.grid import Volume
from serving.bids import find_scans
from serving.bids_app import group, participant

SPACE = "space-MNI152NLin2009aSym"
NAME = "atlas2_prediction"


@pytest.fixture
def testing(tmp_path, grid, scan_data):
    """ATLAS's Testing folder, of two cohorts."""
    for number, cohort in ((1, "R005"), (2, "R052")):
        subject = f"sub-{cohort.lower()}s00{number}"
        name = f"{cohort}/{subject}/ses-1/anat/{subject}_ses-1_{SPACE}_T1w.nii.gz"
        nifti.write(tmp_path / "ATLAS_2/Testing" / name, Volume(scan_data(seed=number), grid))
    return tmp_path / "ATLAS_2/Testing"


def run(testing, out, predictor, name=NAME, **options):
    return list(participant(find_scans([testing]), out, predictor, bids_name=name, **options))


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_folder_holds_what_the_challenge_reads_and_nothing_else(tmp_path, testing, spy, grid):
    outcomes = run(testing, tmp_path / "out", spy())
    subjects = ("sub-r005s001", "sub-r052s002")
    masks = [f"{s}/ses-1/anat/{s}_ses-1_{SPACE}_label-L_mask.nii.gz" for s in subjects]
    assert files(tmp_path / "out") == ["dataset_description.json", *masks]
    assert [o.mask for o in outcomes] == [tmp_path / "out" / mask for mask in masks]
    said = json.loads((tmp_path / "out/dataset_description.json").read_text())
    assert said["Name"] == said["GeneratedBy"][0]["Name"] == said["PipelineDescription"]["Name"] == NAME
    assert said["DatasetType"] == "derivative"
    assert "phantom" in said["GeneratedBy"][1]["Description"]
    scans = sorted(testing.rglob("*_T1w.nii.gz"))
    whole = list(participant(find_scans([testing]), tmp_path / "whole", spy()))
    for scan, mask, usual in zip(scans, masks, whole, strict=True):
        image, original = nib.load(tmp_path / "out" / mask), nib.load(scan)
        assert image.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(image.affine, original.affine)
        np.testing.assert_array_equal(image.dataobj, nib.load(usual.mask).dataobj)
        assert 0 < np.asanyarray(image.dataobj).mean() < 1


def test_finished_masks_are_skipped_and_changed_ones_made_again(tmp_path, testing, spy):
    first = run(testing, tmp_path / "out", spy())
    predictor = spy()
    again = run(testing, tmp_path / "out", predictor)
    assert all(o.reused for o in again)
    assert predictor.calls == 0
    for before, now in zip(first, again, strict=True):
        assert before.sidecar["LesionVolumeMl"] == now.sidecar["LesionVolumeMl"]
    assert not any(o.reused for o in run(testing, tmp_path / "out", spy(), threshold=0.4))
    first[0].mask.write_bytes(first[0].mask.read_bytes()[:200])
    assert [o.reused for o in run(testing, tmp_path / "out", spy(), threshold=0.4)] == [False, True]


def test_two_kinds_of_data_sets_are_not_mixed(tmp_path, testing, spy):
    run(testing, tmp_path / "out", spy())
    with pytest.raises(InputError, match=NAME):
        list(participant(find_scans([testing]), tmp_path / "out", spy()))
    with pytest.raises(InputError, match=NAME):
        run(testing, tmp_path / "out", spy(), name="other")
    list(participant(find_scans([testing]), tmp_path / "usual", spy()))
    with pytest.raises(InputError, match="stroke lesion masks"):
        run(testing, tmp_path / "usual", spy())
    with pytest.raises(InputError, match="no mask"):
        group(tmp_path / "out")


@pytest.mark.parametrize("name", ["../up", "a b", "a/b"])
def test_names_that_are_none(tmp_path, testing, spy, name):
    with pytest.raises(InputError, match="bids-name"):
        run(testing, tmp_path / "out", spy(), name=name)
