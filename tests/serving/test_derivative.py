"""A derivative published elsewhere is whole, points to its scans, and is not made again."""

import json

import nibabel as nib
import numpy as np
import pytest

from lesions import nifti
from lesions.errors import InputError
from lesions.grid import Volume
from serving import bids_app, derivative
from serving.bids import find_scans
from serving.derivative import DESCRIPTION, publish


@pytest.fixture
def made(tmp_path, spy, grid, scan_data):
    """(scans, a derivative of two of them made with models of no version yet)."""
    root = tmp_path / "raw"
    for number in (1, 2):
        name = f"sub-0{number}/anat/sub-0{number}_T1w.nii.gz"
        nifti.write(root / name, Volume(scan_data(seed=number), grid))
    predictor = spy()
    predictor.identity = lambda plane: {"version": "unreleased", "sha256": f"{plane}1"}
    out = tmp_path / "deep/down/derivative"
    assert not any(o.error for o in bids_app.participant(find_scans([root]), out, predictor))
    bids_app.group(out)
    return root, out


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_all_is_there_and_sources_are_found(made, tmp_path):
    _, source = made
    publish(source, tmp_path / "masks")
    assert names(tmp_path / "masks") == names(source)
    assert len(names(source)) == 2 * 7 + 4
    links = json.loads((tmp_path / "masks" / DESCRIPTION).read_text())["DatasetLinks"]
    for path in (tmp_path / "masks").rglob("*_mask.json"):
        link, _, name = json.loads(path.read_text())["Sources"][0].removeprefix("bids:").partition(":")
        assert (tmp_path / "masks" / links[link] / name).is_file()
    for path in source.rglob("*.nii.gz"):
        target = tmp_path / "masks" / path.relative_to(source)
        np.testing.assert_array_equal(nib.load(path).get_fdata(), nib.load(target).get_fdata())
        assert not path.samefile(target)


def test_models_get_their_version_and_nothing_is_segmented_again(made, tmp_path, spy):
    root, source = made
    released = spy()
    released.name = "1"
    publish(source, tmp_path / "masks", released)
    content = json.loads(next((tmp_path / "masks").rglob("sub-01*_mask.json")).read_text())
    assert {model["Version"] for model in content["Models"].values()} == {"1"}
    outcomes = list(bids_app.participant(find_scans([root]), tmp_path / "masks", released))
    assert all(o.reused for o in outcomes)
    assert released.calls == 0
    unchanged = json.loads(next(source.rglob("sub-01*_mask.json")).read_text())
    assert unchanged["Models"]["axial"]["Version"] == "unreleased"


def test_another_model_s_version_is_not_taken(made, tmp_path, spy):
    root, source = made
    other = spy()
    other.name = "2"
    publish(source, tmp_path / "masks", other)
    content = json.loads(next((tmp_path / "masks").rglob("sub-01*_mask.json")).read_text())
    assert content["Models"]["axial"]["Version"] == "unreleased"
    assert not any(o.reused for o in bids_app.participant(find_scans([root]), tmp_path / "masks", other))


def test_masks_of_other_scans_stay(made, tmp_path, spy, grid, scan_data):
    _, source = made
    nifti.write(tmp_path / "own/mine.nii.gz", Volume(scan_data(seed=5), grid))
    (mine,) = bids_app.participant(find_scans([tmp_path / "own"]), tmp_path / "masks", spy())
    for _ in range(2):
        publish(source, tmp_path / "masks")
    assert mine.mask.is_file()
    assert len(json.loads((tmp_path / "masks" / DESCRIPTION).read_text())["DatasetLinks"]) == 2


def test_half_published_over_an_older_one_is_not_taken_for_finished(made, tmp_path, spy, monkeypatch):
    root, source = made
    publish(source, tmp_path / "masks", spy())

    def killed(path, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(derivative, "_copy", killed)
    with pytest.raises(KeyboardInterrupt):
        publish(source, tmp_path / "masks", spy())
    monkeypatch.undo()
    assert not any(o.reused for o in bids_app.participant(find_scans([root]), tmp_path / "masks", spy()))


def test_somebody_else_s_folder_is_left_alone(made, tmp_path):
    (tmp_path / "raw" / DESCRIPTION).write_text('{"Name": "Our cohort"}')
    before = names(tmp_path / "raw")
    with pytest.raises(InputError, match="Our cohort"):
        publish(made[1], tmp_path / "raw")
    assert names(tmp_path / "raw") == before
