import gzip

import numpy as np
import pytest

from lesions import nifti
from lesions.checks import check_dataset
from lesions.dataset import discover
from lesions.errors import InputError
from lesions.grid import Grid, Volume

SHAPE = (8, 9, 7)
STEM = "{0}_ses-1_space-MNI152NLin2009aSym"


def affine(spacing=2.0, origin=(-8.0, -9.0, -7.0)):
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = origin
    return matrix


def image_path(root, subject, cohort="Training/R001", session="ses-1"):
    return root / cohort / subject / session / "anat" / f"{subject}_{session}_T1w.nii.gz"


def mask_path(root, subject, cohort="Training/R001", session="ses-1"):
    return image_path(root, subject, cohort, session).with_name(
        f"{subject}_{session}_label-L_desc-T1lesion_mask.nii.gz"
    )


def save(path, data, matrix=None):
    matrix = affine() if matrix is None else matrix
    nifti.write(path, Volume(data, Grid.of(data.shape, matrix)))


def head():
    return np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.float32)


def lesion():
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:5, 3:5, 3] = 1
    return mask


@pytest.fixture
def root(tmp_path):
    """Four good subjects; the tests break sub-2."""
    for subject in ("sub-1", "sub-2", "sub-3", "sub-4"):
        save(image_path(tmp_path, subject), head())
        save(mask_path(tmp_path, subject), lesion())
    return tmp_path


def problems(checked):
    return [(f.subject, f.problem, f.severity) for f in checked.findings]


def test_good_data_set(root):
    checked = check_dataset(discover(root))
    assert checked.findings == ()
    assert [scan.subject for scan in checked.usable] == ["sub-1", "sub-2", "sub-3", "sub-4"]
    assert checked.grid == Grid.of(SHAPE, affine())


def truncated_gzip(path):
    path.write_bytes(path.read_bytes()[:-300])


def truncated_plain(path):
    data = gzip.decompress(path.read_bytes())[:-100]
    path.write_bytes(gzip.compress(data))


def with_value(value):
    def plant(path):
        data = nifti.read(path).data
        data[1, 1, 1] = value
        save(path, data)

    return plant


IMAGE_FAULTS = {
    "truncated gzip": (truncated_gzip, "truncated or damaged"),
    "truncated inside": (truncated_plain, "truncated or damaged"),
    "empty file": (lambda p: p.write_bytes(b""), "not readable as NIfTI"),
    "text": (lambda p: p.write_text("no image"), "not readable as NIfTI"),
    "encrypted": (lambda p: p.write_bytes(b"Salted__" + bytes(500)), "encrypted"),
    "two dimensions": (lambda p: write_raw(p, np.ones((8, 9), np.float32)), "wrong dimensions"),
    "series": (lambda p: write_raw(p, np.ones((*SHAPE, 3), np.float32)), "wrong dimensions"),
    "NaN": (with_value(np.nan), "NaN or infinite"),
    "infinite": (with_value(-np.inf), "NaN or infinite"),
    "constant": (lambda p: save(p, np.full(SHAPE, 7, np.float32)), "constant image"),
    "missing": (lambda p: p.unlink(), "file missing"),
    "other shape": (lambda p: save(p, np.pad(head(), 1)), "grid differs from the data set's"),
    "other affine": (
        lambda p: save(p, head(), affine(origin=(-8, -9, -6.5))),
        "grid differs from the data set's",
    ),
    "other spacing": (lambda p: save(p, head(), affine(1.9)), "grid differs from the data set's"),
}


def write_raw(path, data):
    import nibabel as nib

    nib.save(nib.Nifti1Image(data, affine()), path)


@pytest.mark.parametrize(("plant", "problem"), IMAGE_FAULTS.values(), ids=IMAGE_FAULTS)
def test_broken_scan_is_put_aside(root, plant, problem):
    plant(image_path(root, "sub-2"))
    checked = check_dataset(discover(root))
    assert ("sub-2", problem, "error") in problems(checked)
    assert {f.subject for f in checked.findings} == {"sub-2"}
    assert [scan.subject for scan in checked.usable] == ["sub-1", "sub-3", "sub-4"]
    for finding in checked.findings:
        assert finding.file.startswith("Training/R001/sub-2/ses-1/anat/sub-2_ses-1_")
        assert all((finding.expected, finding.found, finding.remedy))
        assert "\n" not in finding.found


def times(factor):
    return lambda p: save(p, lesion().astype(np.float32) * factor)


def gray(path):
    mask = lesion().astype(np.float32)
    mask[3, 3, 3], mask[4, 4, 3] = 0.25, 0.5
    save(path, mask)


MASK_FAULTS = {
    "empty": (times(0), "empty mask"),
    "gray": (gray, "mask not binary"),
    "negative": (times(-1), "mask not binary"),
    "NaN": (with_value(np.nan), "NaN or infinite"),
    "other shape": (lambda p: save(p, np.pad(lesion(), 1)), "grid of mask and scan differ"),
    "other affine": (
        lambda p: save(p, lesion(), affine(origin=(-8, -9, -6))),
        "grid of mask and scan differ",
    ),
    "truncated": (truncated_plain, "truncated or damaged"),
}


@pytest.mark.parametrize(("plant", "problem"), MASK_FAULTS.values(), ids=MASK_FAULTS)
def test_broken_mask_is_put_aside(root, plant, problem):
    plant(mask_path(root, "sub-2"))
    checked = check_dataset(discover(root))
    assert problems(checked) == [("sub-2", problem, "error")]
    assert "sub-2" not in {scan.subject for scan in checked.usable}


def test_values_of_a_gray_mask_are_listed(root):
    gray(mask_path(root, "sub-2"))
    (finding,) = check_dataset(discover(root)).findings
    assert finding.found == "4 values: 0, 0.25, 0.5, 1"


def test_differences_are_told(root):
    save(mask_path(root, "sub-2"), lesion(), affine(origin=(-8, -9, -6)))
    (finding,) = check_dataset(discover(root)).findings
    assert (finding.expected, finding.found) == ("origin -8 x -9 x -7", "origin -8 x -9 x -6")


def test_missing_mask(root):
    mask_path(root, "sub-2").unlink()
    checked = check_dataset(discover(root))
    assert problems(checked) == [("sub-2", "missing mask", "error")]
    assert len(checked.usable) == 3


def test_testing_subjects_are_read_but_need_no_mask(root):
    save(image_path(root, "sub-7", "Testing/R005"), head())
    save(image_path(root, "sub-8", "Testing/R005"), head() * 0)
    checked = check_dataset(discover(root))
    assert problems(checked) == [("sub-8", "constant image", "error")]
    assert len(checked.usable) == 4


def flipped(data):
    matrix = affine() @ np.diag([-1, 1, 1, 1.0])
    matrix[:3, 3] = affine()[:3, 3] + [2.0 * (SHAPE[0] - 1), 0, 0]
    return data[::-1].copy(), matrix


def test_axes_are_a_note(root):
    save(image_path(root, "sub-2"), *flipped(head()))
    checked = check_dataset(discover(root))
    assert problems(checked) == [("sub-2", "axes not RAS", "note")]
    assert checked.findings[0].found == "LAS"
    assert len(checked.usable) == 4


def test_series_of_one_and_masks_of_255_are_notes(root):
    write_raw(image_path(root, "sub-2"), head()[..., None])
    times(255)(mask_path(root, "sub-3"))
    checked = check_dataset(discover(root))
    assert problems(checked) == [
        ("sub-2", "one frame of a series", "note"),
        ("sub-3", "mask not 0 and 1", "note"),
    ]
    assert len(checked.usable) == 4


def test_second_session_is_put_aside(root):
    save(image_path(root, "sub-2", session="ses-2"), head())
    save(mask_path(root, "sub-2", session="ses-2"), lesion())
    checked = check_dataset(discover(root))
    assert problems(checked) == [("sub-2", "second session", "error")]
    assert [scan.session for scan in checked.usable if scan.subject == "sub-2"] == ["ses-1"]


def test_second_session_serves_where_the_first_is_broken(root):
    save(image_path(root, "sub-2", session="ses-2"), head())
    save(mask_path(root, "sub-2", session="ses-2"), lesion())
    truncated_gzip(image_path(root, "sub-2"))
    checked = check_dataset(discover(root))
    assert [scan.session for scan in checked.usable if scan.subject == "sub-2"] == ["ses-2"]


def test_nothing_usable(tmp_path):
    save(image_path(tmp_path, "sub-1"), head())
    save(mask_path(tmp_path, "sub-1"), lesion() * 0)
    with pytest.raises(InputError, match=r"no usable scan; .*empty mask") as error:
        check_dataset(discover(tmp_path))
    assert "\n" not in str(error.value)


def test_workers_and_progress(root):
    truncated_gzip(image_path(root, "sub-2"))
    dataset, seen = discover(root), []
    assert check_dataset(dataset, 2, lambda *step: seen.append(step)) == check_dataset(dataset)
    assert seen[-1] == (4, 4)
