import json

import numpy as np
import pytest

from lesions import nifti
from lesions.errors import InputError
from lesions.grid import template_grid
from lesions.phantom import cohort, make_cohort, make_subject, subject_name
from lesions.phantom.subject import volume_share

SPACING = 6.0
ANAT = "Training/R001/sub-r001s001/ses-1/anat/sub-r001s001_ses-1_space-MNI152NLin2009aSym_"


def read(folder):
    return {
        file.relative_to(folder).as_posix(): nifti.read(file).data
        for file in sorted(folder.rglob("*.nii.gz"))
    }


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantom") / "set"
    seen = []
    make_cohort(out, 13, seed=2, spacing=SPACING, workers=1, progress=lambda *p: seen.append(p))
    assert seen == [(i, 13) for i in range(1, 14)]
    return out


@pytest.mark.heavy
def test_tree_and_names_are_those_of_atlas(phantom):
    files = set(read(phantom))
    assert len(files) == 26
    assert {f"{ANAT}T1w.nii.gz", f"{ANAT}label-L_desc-T1lesion_mask.nii.gz"} <= files
    assert sorted(p.name for p in phantom.iterdir()) == ["Training"]
    assert sorted(p.name for p in (phantom / "Training").iterdir()) == ["R001", "R002"]


def test_description_says_that_it_is_a_phantom(phantom):
    for folder in (phantom / "Training").iterdir():
        said = json.loads((folder / "dataset_description.json").read_text())
        assert said["Name"] == "RAX-Net phantom (seed 2)"
        assert said["BIDSVersion"] == "1.6.0"
        assert said["GeneratedBy"][0]["Name"] == "raxnet phantom"


def test_volumes_have_the_grid_types_and_ranges(phantom):
    image = nifti.read(phantom / f"{ANAT}T1w.nii.gz")
    mask = nifti.read(phantom / f"{ANAT}label-L_desc-T1lesion_mask.nii.gz", np.uint8)
    assert image.grid.same_as(template_grid(SPACING))
    assert mask.grid.same_as(template_grid(SPACING))
    assert image.data.min() == 0
    assert image.data.max() > 255
    assert set(np.unique(mask.data)) == {0, 1}
    assert (image.data[0] == 0).all()  # air


@pytest.mark.heavy
def test_the_result_does_not_depend_on_workers_and_more_subjects_extend_it(phantom, tmp_path):
    make_cohort(tmp_path / "more", 14, seed=2, spacing=SPACING, workers=2)
    first, second = read(phantom), read(tmp_path / "more")
    assert len(second) == len(first) + 2
    for name, data in first.items():
        np.testing.assert_array_equal(data, second[name])


@pytest.mark.heavy
def test_seed_and_index_matter():
    images = [make_subject(i, s, SPACING)[0].data for i, s in ((0, 0), (1, 0), (0, 1))]
    assert (images[0] != images[1]).any()
    assert (images[0] != images[2]).any()
    assert (images[1] != images[2]).any()  # not seed + index
    np.testing.assert_array_equal(images[0], make_subject(0, 0, SPACING)[0].data)


def test_names_have_gaps_and_never_repeat():
    names = [subject_name(i) for i in range(500)]
    assert len(set(names)) == 500
    assert names[0] == "sub-r001s001"
    cohorts = sorted({int(n[5:8]) for n in names})
    assert cohorts != list(range(1, len(cohorts) + 1))


def test_volumes_follow_the_quantiles_at_any_number_of_subjects():
    for seed in range(5):
        shares = np.sort([volume_share(i, seed) for i in range(20)])
        assert np.abs(shares - (np.arange(20) + 0.5) / 20).max() < 0.1


def test_a_finished_phantom_is_kept_and_anything_else_is_refused(phantom, tmp_path, monkeypatch):
    monkeypatch.setattr(cohort, "_write_all", lambda *_: pytest.fail("was written again"))
    make_cohort(phantom, 13, seed=2, spacing=SPACING)
    for changed in ({"seed": 3}, {"spacing": 5.0}, {"subjects": 12}):
        with pytest.raises(InputError, match="is not this phantom"):
            make_cohort(phantom, **{"subjects": 13, "seed": 2, "spacing": SPACING, **changed})
    monkeypatch.setattr(cohort, "GENERATOR", -1)
    with pytest.raises(InputError, match="is not this phantom"):
        make_cohort(phantom, 13, seed=2, spacing=SPACING)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is not this phantom"):
        make_cohort(tmp_path / "file", 1)
    with pytest.raises(InputError, match="is not this phantom"):
        make_cohort(tmp_path, 1)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "bad",
    [
        {"subjects": 0},
        {"seed": -1},
        {"spacing": 0.2},
        {"spacing": 7.0},
        {"spacing": float("nan")},
        {"workers": 0},
    ],
)
def test_parameters_out_of_range(tmp_path, bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        make_cohort(tmp_path / "out", **{"subjects": 1, **bad})
    assert not list(tmp_path.iterdir())


def test_too_full_a_disk(tmp_path):
    with pytest.raises(InputError, match="GB free"):
        make_cohort(tmp_path / "out", 10**9)


def test_a_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        make_cohort(tmp_path / "file" / "out", 1, spacing=SPACING)


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    def fail(out, index, *_):
        out.mkdir(parents=True, exist_ok=True)
        raise KeyboardInterrupt if index else InputError("no")

    monkeypatch.setattr(cohort, "_write_subject", fail)
    with pytest.raises(InputError):
        make_cohort(tmp_path / "out", 3, spacing=SPACING, workers=1)
    assert not list(tmp_path.iterdir())
