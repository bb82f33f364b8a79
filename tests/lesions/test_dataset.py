import json
import os

import pytest

from lesions.dataset import Scan, digest, discover, is_testing
from lesions.errors import InputError

SPACE = "space-MNI152NLin2009aSym"


def put(root, folder, subject, mask=True, session="ses-1", space=f"_{SPACE}"):
    anat = root / folder / subject / session / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    stem = f"{subject}_{session}{space}"
    (anat / f"{stem}_T1w.nii.gz").write_bytes(b"image of " + subject.encode())
    if mask:
        (anat / f"{stem}_label-L_desc-T1lesion_mask.nii.gz").write_bytes(b"mask")
    return anat


def describe(folder, name, **more):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset_description.json").write_text(
        json.dumps({"Name": name, "BIDSVersion": "1.6.0", **more})
    )


def subjects(dataset):
    return [scan.subject for scan in dataset.scans]


@pytest.fixture
def cohort(tmp_path):
    root = tmp_path / "ATLAS_2"
    put(root, "Training/R001", "sub-r001s001")
    put(root, "Training/R009", "sub-r009s017")  # gaps in the numbering
    put(root, "Testing/R005", "sub-r005s002", mask=False)
    return root


def test_cohort_tree(cohort):
    found = discover(cohort)
    assert (found.layout, found.name, found.phantom) == ("cohort", "ATLAS v2.0", False)
    assert subjects(found) == ["sub-r001s001", "sub-r005s002", "sub-r009s017"]
    anat = cohort / "Training/R001/sub-r001s001/ses-1/anat"
    assert found.scans[0] == Scan(
        "sub-r001s001",
        "ses-1",
        anat / f"sub-r001s001_ses-1_{SPACE}_T1w.nii.gz",
        anat / f"sub-r001s001_ses-1_{SPACE}_label-L_desc-T1lesion_mask.nii.gz",
    )


def test_testing_subjects_are_kept_apart(cohort):
    found = discover(cohort)
    assert [scan.subject for scan in found.labeled] == ["sub-r001s001", "sub-r009s017"]
    assert [is_testing(found, scan) for scan in found.scans] == [False, True, False]


def test_parent_of_the_cohort_tree_and_its_training_folder_serve_too(cohort):
    assert discover(cohort.parent).name == "ATLAS v2.0"
    assert subjects(discover(cohort / "Training")) == ["sub-r001s001", "sub-r009s017"]


@pytest.mark.parametrize("folder", [".", "train/derivatives/ATLAS", "derivatives/ATLAS", "train"])
def test_bids_trees(tmp_path, folder):
    put(tmp_path, folder, "sub-r001s001")
    found = discover(tmp_path)
    assert found.layout == "bids"
    assert len(found.labeled) == 1


def test_flat_bids_without_sessions(tmp_path):
    anat = tmp_path / "study" / "sub-01" / "anat"
    anat.mkdir(parents=True)
    (anat / "sub-01_T1w.nii").write_bytes(b"x")
    (anat / "sub-01_desc-lesion_mask.nii").write_bytes(b"x")
    found = discover(tmp_path / "study")
    assert found.scans == (Scan("sub-01", "", anat / "sub-01_T1w.nii", anat / "sub-01_desc-lesion_mask.nii"),)
    assert found.name == "study"


def test_scans_at_the_root_with_masks_in_a_derivative(tmp_path):
    raw = put(tmp_path, ".", "sub-01", mask=False, space="")
    masks = tmp_path / "derivatives" / "manual" / "sub-01" / "ses-1" / "anat"
    masks.mkdir(parents=True)
    (masks / "sub-01_ses-1_label-lesion_mask.nii.gz").write_bytes(b"x")
    (scan,) = discover(tmp_path).scans
    assert scan.image.parent == raw
    assert scan.mask is not None
    assert scan.mask.parent == masks


def test_scan_in_the_space_of_the_mask_is_taken(tmp_path):
    anat = put(tmp_path, ".", "sub-01")
    (anat / "sub-01_ses-1_T1w.nii.gz").write_bytes(b"native")
    (scan,) = discover(tmp_path).scans
    assert SPACE in scan.image.name


def test_other_masks_and_stray_files_are_passed_over(cohort):
    anat = cohort / "Training/R001/sub-r001s001/ses-1/anat"
    stem = f"sub-r001s001_ses-1_{SPACE}"
    for name in (
        f"{stem}_desc-brain_mask.nii.gz",
        f"{stem}_label-L_desc-raxnet_mask.nii.gz",
        f"._{stem}_T1w.nii.gz",
        f"{stem}_T1w.nii.gz.part",
        f"{stem}_label-left_mask.nii.gz",
    ):
        (anat / name).write_bytes(b"x")
    assert len(discover(cohort).scans) == 3


def test_phantom_is_recognized(tmp_path):
    for folder in ("Training/R901", "Training/R902"):
        put(tmp_path, folder, f"sub-{folder[-4:].lower()}s001")
        describe(tmp_path / folder, "RAX-Net phantom (seed 7)", GeneratedBy=[{"Name": "raxnet phantom"}])
    found = discover(tmp_path)
    assert (found.name, found.phantom) == ("RAX-Net phantom (seed 7)", True)


def test_one_phantom_cohort_makes_the_data_set_a_phantom(cohort):
    describe(
        cohort / "Training" / "R001", "RAX-Net phantom (seed 7)", GeneratedBy=[{"Name": "raxnet phantom"}]
    )
    describe(cohort, "My data")
    found = discover(cohort)
    assert (found.name, found.phantom) == ("My data", True)


def test_differing_cohort_names_are_no_name(cohort):
    describe(cohort / "Training" / "R001", "R001")
    describe(cohort / "Training" / "R009", "R009")
    assert discover(cohort).name == "ATLAS v2.0"


def test_mask_without_scan_names_the_scan_that_is_missing(cohort):
    anat = cohort / "Training/R001/sub-r001s001/ses-1/anat"
    image = anat / f"sub-r001s001_ses-1_{SPACE}_T1w.nii.gz"
    image.unlink()
    found = discover(cohort)
    assert found.scans[0].image == image
    assert digest(found)


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        discover(tmp_path / "nowhere")


def test_nothing_found(tmp_path):
    with pytest.raises(InputError, match="no scan found"):
        discover(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"), [(b"U2FsdGVkX1+abc", "still encrypted"), (b"\x1f\x8b", "still packed")]
)
def test_the_download_itself_is_named(tmp_path, content, words):
    archive = tmp_path / "ATLAS_R2.0_encrypted.tar.gz"
    archive.write_bytes(content)
    for given in (tmp_path, archive):  # the folder that it lies in, or the file
        with pytest.raises(InputError, match=rf"ATLAS_R2.0_encrypted.tar.gz: {words}"):
            discover(given)


def test_no_masks_says_which_tree(tmp_path):
    put(tmp_path, "Testing/R005", "sub-r005s002", mask=False)
    with pytest.raises(InputError, match="cohort tree with 1 scans but no lesion mask"):
        discover(tmp_path)


def conflicts(dataset):
    return [(c.subject, c.session, c.problem, len(c.files)) for c in dataset.conflicts]


@pytest.mark.parametrize("folder", ["Training/R002", "Testing/R001"])
def test_subject_in_two_cohorts(cohort, folder):
    put(cohort, folder, "sub-r001s001", mask=False)
    found = discover(cohort)
    assert conflicts(found) == [("sub-r001s001", "ses-1", "duplicate subject", 2)]
    assert subjects(found) == ["sub-r005s002", "sub-r009s017"]


def test_two_masks_of_a_session(cohort):
    anat = cohort / "Training/R001/sub-r001s001/ses-1/anat"
    (anat / f"sub-r001s001_ses-1_{SPACE}_label-L_desc-T1lesion_mask.nii").write_bytes(b"x")
    found = discover(cohort)
    assert conflicts(found) == [("sub-r001s001", "ses-1", "more than one lesion mask", 2)]
    assert "sub-r001s001" not in subjects(found)


def test_name_and_folder_disagree(cohort):
    anat = cohort / "Training/R001/sub-r001s001/ses-1/anat"
    stray = anat / f"sub-r001s002_ses-1_{SPACE}_T1w.nii.gz"
    stray.write_bytes(b"x")
    found = discover(cohort)
    assert conflicts(found) == [("sub-r001s002", "ses-1", "name and folder disagree", 1)]
    assert found.conflicts[0].files == (stray,)
    assert "sub-r001s001" in subjects(found)  # its own files are where they belong


def test_the_pair_in_template_space_is_taken_of_several(tmp_path):
    """As fMRIPrep and alike write: T1w in more than one space and resolution, beside masks of each."""
    anat = tmp_path / "sub-01" / "anat"
    anat.mkdir(parents=True)
    names = [
        "sub-01_T1w.nii.gz",
        "sub-01_desc-T1lesion_mask.nii.gz",
        f"sub-01_{SPACE}_T1w.nii.gz",
        f"sub-01_{SPACE}_label-L_desc-T1lesion_mask.nii.gz",
        "sub-01_space-MNI152NLin6Asym_res-2_T1w.nii.gz",
        "sub-01_space-MNI152NLin6Asym_res-2_label-L_mask.nii.gz",
    ]
    for name in names:
        (anat / name).write_bytes(b"x")
    found = discover(tmp_path)
    assert found.conflicts == ()
    assert found.scans == (Scan("sub-01", "", anat / names[2], anat / names[3]),)


@pytest.mark.parametrize("entity", ["res-1", "run-1", "acq-mprage"])
def test_the_scan_with_the_mask_s_entities_is_taken(tmp_path, entity):
    other = entity[:-1] + ("2" if entity[-1] == "1" else "x")
    anat = tmp_path / "sub-01" / "ses-1" / "anat"
    anat.mkdir(parents=True)
    for name in (f"{entity}_T1w", f"{other}_T1w", f"{entity}_label-L_desc-T1lesion_mask"):
        (anat / f"sub-01_ses-1_{name}.nii.gz").write_bytes(b"x")
    (scan,) = discover(tmp_path).scans
    assert scan.image.name == f"sub-01_ses-1_{entity}_T1w.nii.gz"


def test_testing_subject_with_a_native_scan_beside_is_no_conflict(cohort):
    anat = cohort / "Testing/R005/sub-r005s002/ses-1/anat"
    (anat / "sub-r005s002_ses-1_T1w.nii.gz").write_bytes(b"native")
    found = discover(cohort)
    assert found.conflicts == ()
    assert SPACE in found.scans[1].image.name


def test_both_parts_of_the_bidsified_tree(tmp_path):
    root = tmp_path / "ATLAS_2"
    put(root, "train/derivatives/ATLAS", "sub-r001s001")
    put(root, "test/derivatives/ATLAS", "sub-r005s002", mask=False)
    for given in (root, tmp_path):
        found = discover(given)
        assert (found.layout, found.name) == ("bids", "ATLAS v2.0")
        assert [scan.subject for scan in found.labeled] == ["sub-r001s001"]
        assert [is_testing(found, scan) for scan in found.scans] == [False, True]


def test_raw_scans_in_a_folder_of_their_own(tmp_path):
    raw = put(tmp_path, "rawdata", "sub-01", mask=False, space="")
    masks = tmp_path / "derivatives" / "lesions" / "sub-01" / "ses-1" / "anat"
    masks.mkdir(parents=True)
    (masks / "sub-01_ses-1_label-L_mask.nii.gz").write_bytes(b"x")
    (scan,) = discover(tmp_path).scans
    assert (scan.image.parent, scan.mask.parent) == (raw, masks)


def test_digest_follows_conflicts(cohort):
    before = digest(discover(cohort))
    anat = cohort / "Training/R001/sub-r001s001/ses-1/anat"
    stray = anat / f"sub-r001s002_ses-1_{SPACE}_T1w.nii.gz"
    stray.write_bytes(b"x")
    assert digest(discover(cohort)) != before
    stray.unlink()
    assert digest(discover(cohort)) == before


def test_digest_follows_content_and_place(cohort):
    before = digest(discover(cohort))
    assert before == digest(discover(cohort))
    moved = cohort.with_name("ATLAS_moved")
    cohort.rename(moved)
    assert digest(discover(moved)) == before
    mask = next(moved.glob("Training/R009/*/*/*/*mask.nii.gz"))
    os.utime(mask, ns=(1, 1))
    assert digest(discover(moved)) != before
