"""Which scans are taken, and what their masks are called."""

from pathlib import Path

import pytest

from lesions.errors import InputError
from serving.bids import entities_of, find_scans, scans_below


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("sub-01_T1w.nii.gz", "sub-01/anat/sub-01_space-orig_label-L_desc-raxnet_mask.nii.gz"),
        (
            "sub-r001s001_ses-1_space-MNI152NLin2009aSym_T1w.nii.gz",
            "sub-r001s001/ses-1/anat/sub-r001s001_ses-1_space-MNI152NLin2009aSym_label-L_desc-raxnet_mask.nii.gz",
        ),
        (
            "sub-A_ses-2_acq-mprage_run-02_T1w.nii",
            "sub-A/ses-2/anat/sub-A_ses-2_acq-mprage_run-02_space-orig_label-L_desc-raxnet_mask.nii.gz",
        ),
        (
            "sub-A_space-T1w_res-2_desc-preproc_T1w.nii.gz",
            "sub-A/anat/sub-A_space-T1w_res-2_label-L_desc-raxnet_mask.nii.gz",
        ),
        (
            "sub-B_run-1_res-2_T1w.nii.gz",
            "sub-B/anat/sub-B_run-1_space-orig_res-2_label-L_desc-raxnet_mask.nii.gz",
        ),
        ("my scan (1).nii.gz", "sub-myscan1/anat/sub-myscan1_space-orig_label-L_desc-raxnet_mask.nii.gz"),
        ("sub-01_FLAIR.nii", "sub-01FLAIR/anat/sub-01FLAIR_space-orig_label-L_desc-raxnet_mask.nii.gz"),
        ("brain.mni.nii", "sub-brainmni/anat/sub-brainmni_space-orig_label-L_desc-raxnet_mask.nii.gz"),
    ],
)
def test_names(tmp_path, name, output):
    touch(tmp_path, name)
    (scan,) = find_scans([tmp_path / name])
    assert scan.output(Path("out"), "mask.nii.gz").as_posix() == f"out/{output}"
    assert scan.source.endswith(f":{name}")


def test_name_without_letters_still_has_a_label():
    first, second = (entities_of(Path(name)) for name in ("頭.nii.gz", "脳.nii.gz"))
    assert first != second
    assert first[0].removeprefix("sub-").isalnum()
    assert first[0].isascii()


def test_bids_folder_with_and_without_sessions(tmp_path):
    touch(
        tmp_path,
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-02/ses-1/anat/sub-02_ses-1_T1w.nii",
        "sub-02/ses-2/anat/sub-02_ses-2_T1w.nii.gz",
        "sub-02/ses-2/anat/sub-02_ses-2_FLAIR.nii.gz",
        "sub-02/ses-2/anat/sub-02_ses-2_T1w.json",
        "sub-02/ses-2/func/sub-02_ses-2_bold.nii.gz",
        "derivatives/other/sub-03/anat/sub-03_T1w.nii.gz",
    )
    scans = find_scans([tmp_path])
    assert [scan.label for scan in scans] == ["sub-01", "sub-02 ses-1", "sub-02 ses-2"]
    assert scans[1].source == f"bids:{scans[1].link}:sub-02/ses-1/anat/sub-02_ses-1_T1w.nii"
    assert [s.label for s in find_scans([tmp_path], ["02"])] == ["sub-02 ses-1", "sub-02 ses-2"]
    assert [s.label for s in find_scans([tmp_path], ["sub-01"])] == ["sub-01"]
    with pytest.raises(InputError, match="sub-7"):
        find_scans([tmp_path], ["01", "7"])


@pytest.mark.parametrize("above", ["", "ATLAS_2/"])
def test_cohort_tree_of_atlas(tmp_path, above):
    space = "space-MNI152NLin2009aSym"
    for cohort, subject in (
        ("Training/R001", "sub-r001s001"),
        ("Training/R052", "sub-r052s030"),
        ("Testing/R005", "sub-r005s1"),
    ):
        anat = f"{above}{cohort}/{subject}/ses-1/anat"
        touch(
            tmp_path,
            f"{anat}/{subject}_ses-1_{space}_T1w.nii.gz",
            f"{anat}/{subject}_ses-1_{space}_label-L_desc-T1lesion_mask.nii.gz",
        )
    assert {scan.subject for scan in find_scans([tmp_path])} == {"sub-r001s001", "sub-r052s030", "sub-r005s1"}
    cohort = find_scans([tmp_path / above / "Training"])
    assert [scan.subject for scan in cohort] == ["sub-r001s001", "sub-r052s030"]
    assert [s.subject for s in find_scans([tmp_path / above / "Training/R052"])] == ["sub-r052s030"]


def test_folder_of_files_that_are_not_bids(tmp_path):
    touch(tmp_path, "b.nii", "a.nii.gz", "a_mask.nii.gz", "notes.txt", ".hidden.nii.gz")
    assert [scan.subject for scan in find_scans([tmp_path])] == ["sub-a", "sub-b"]


def test_files_and_folders_together(tmp_path):
    touch(tmp_path, "x.nii", "data/sub-1/anat/sub-1_T1w.nii.gz")
    assert [s.subject for s in find_scans([tmp_path / "x.nii", tmp_path / "data"])] == ["sub-x", "sub-1"]


def test_inputs_that_are_none(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        find_scans([tmp_path / "nothing.nii"])
    with pytest.raises(InputError, match="no T1w scan"):
        find_scans([tmp_path])
    touch(tmp_path, "picture.png")
    with pytest.raises(InputError, match="convert it to NIfTI"):
        find_scans([tmp_path / "picture.png"])


def test_two_scans_of_one_name(tmp_path):
    touch(tmp_path, "a/T1.nii.gz", "b/T1.nii.gz")
    with pytest.raises(InputError, match="rename one"):
        find_scans([tmp_path / "a/T1.nii.gz", tmp_path / "b/T1.nii.gz"])
    with pytest.raises(InputError, match="rename one"):
        find_scans([tmp_path / "a/T1.nii.gz", tmp_path / "a/T1.nii.gz"])


def test_sessions_are_chosen(tmp_path):
    touch(tmp_path, *(f"sub-{n}/ses-{m}/anat/sub-{n}_ses-{m}_T1w.nii" for n in (1, 2) for m in ("a", "b")))
    assert [s.label for s in find_scans([tmp_path], ["2"], ["ses-b"])] == ["sub-2 ses-b"]
    assert [s.label for s in find_scans([tmp_path], sessions=["a"])] == ["sub-1 ses-a", "sub-2 ses-a"]
    with pytest.raises(InputError, match="session ses-c"):
        find_scans([tmp_path], sessions=["a", "c"])


def test_links_are_followed_and_none_is_passed_over(tmp_path):
    """git-annex and DataLad keep files as links, and what is not fetched yet as links to nothing."""
    touch(tmp_path, "annex/x.nii.gz")
    anat = tmp_path / "raw/sub-1/anat"
    anat.mkdir(parents=True)
    (anat / "sub-1_T1w.nii.gz").symlink_to(tmp_path / "annex/x.nii.gz")
    (anat / "sub-1_run-2_T1w.nii.gz").symlink_to("../../../annex/nothing")
    (tmp_path / "raw/sub-2").symlink_to("sub-2")  # a circle
    assert [s.path.name for s in find_scans([tmp_path / "raw"])] == [
        "sub-1_T1w.nii.gz",
        "sub-1_run-2_T1w.nii.gz",
    ]
    with pytest.raises(InputError, match="check the label"):
        find_scans([tmp_path / "raw"], ["../../etc"])


def test_scans_below_are_a_data_sets_or_all_of_a_tree(tmp_path):
    names = (
        "a.nii.gz",
        "clinic/a.nii.gz",
        "clinic/b.nii",
        "clinic/a_mask.nii.gz",
        "clinic/.c.nii",
        "d.nii/e.txt",
    )
    loose = touch(tmp_path / "loose", *names)
    found = [path.relative_to(loose).as_posix() for path in scans_below(loose)]
    assert found == ["a.nii.gz", "clinic/a.nii.gz", "clinic/b.nii"]
    scan, other = "sub-1/anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_FLAIR.nii.gz"
    data_set = touch(tmp_path / "bids", scan, other)
    assert scans_below(data_set) == [data_set / scan]
