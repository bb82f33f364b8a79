"""Every row of the check list, on real broken files: found, named, put aside or kept, and told how to mend."""

import gzip
import logging
import multiprocessing
import shutil
import subprocess
import threading
from importlib.resources import files

import nibabel as nib
import numpy as np
import pytest

from lesions import nifti
from lesions.checks import check_dataset, inspect_dataset, put_aside, stopping
from lesions.dataset import discover
from lesions.errors import InputError, WorkError
from lesions.grid import resample, template_grid
from lesions.ingest import read_subject
from lesions.mni import TEMPLATE

pytestmark = pytest.mark.heavy

GRID = template_grid(10.0)  # coarse, but a brain in its place
ORIGIN, UP = GRID.matrix[:3, 3], np.array([0, 0, 1.0])


def image_path(root, subject, cohort="Training/R001", session="ses-1"):
    return root / cohort / subject / session / "anat" / f"{subject}_{session}_T1w.nii.gz"


def mask_path(root, subject, cohort="Training/R001", session="ses-1"):
    return image_path(root, subject, cohort, session).with_name(
        f"{subject}_{session}_label-L_desc-T1lesion_mask.nii.gz"
    )


def affine(spacing=10.0, origin=ORIGIN):
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = origin
    return matrix


def save(path, data, matrix=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine() if matrix is None else matrix), path)


BRAIN = resample(nifti.read(files("nilearn.datasets.data") / TEMPLATE), GRID).data


def head():
    return BRAIN + np.float32(5)


def lesion():
    mask = np.zeros(GRID.shape, np.uint8)
    mask[5:7, 10:12, 9] = 1
    return mask


def put(root, subject, **where):
    save(image_path(root, subject, **where), head())
    save(mask_path(root, subject, **where), lesion())


@pytest.fixture
def root(tmp_path):
    """Three good subjects; the tests break sub-2."""
    for subject in ("sub-1", "sub-2", "sub-3"):
        put(tmp_path, subject)
    return tmp_path


def problems(checked):
    return [(f.subject, f.problem, f.severity) for f in checked.findings]


def truncated_gzip(path):
    path.write_bytes(path.read_bytes()[:-300])


def truncated_inside(path):
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-100]))


def no_gzip(path):
    path.write_bytes(b"\x1f\x8b\x08\x00" + bytes(range(256)) * 4)


def encrypted(path):
    plain = path.with_name("plain")
    path.rename(plain)
    cipher = ["openssl", "aes-256-cbc", "-md", "sha256", "-a", "-pass", "pass:x", "-in", plain, "-out", path]
    if shutil.which("openssl"):
        subprocess.run(cipher, check=True, stderr=subprocess.DEVNULL)
    else:
        path.write_bytes(b"U2FsdGVkX1" + bytes(500))
    plain.unlink()


def with_value(value):
    def plant(path):
        data = nifti.read(path).data
        data[1, 1, 1] = value
        save(path, data)

    return plant


def colors(path):
    save(path, np.zeros(GRID.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")]))


def no_affine(path):
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[252:256] = (0).to_bytes(2, "little") + (1).to_bytes(2, "little")  # sform alone, and it is zero
    raw[280:328] = bytes(48)
    path.write_bytes(gzip.compress(bytes(raw)))


def flipped(data):
    """The same anatomy, stored from right to left."""
    matrix = affine() @ np.diag([-1, 1, 1, 1.0])
    matrix[0, 3] += 10.0 * (GRID.shape[0] - 1)
    return data[::-1].copy(), matrix


def gray(path):
    mask = lesion().astype(np.float32)
    mask[5, 10, 9], mask[6, 11, 9] = 0.25, 0.5
    save(path, mask)


def times(factor):
    return lambda path: save(path, lesion().astype(np.float32) * factor)


MOVED = np.roll(BRAIN, 3, axis=1)  # 30 mm
# name: (which file, what is done to it, problem, severity, in `found`)
FAULTS = {
    "cutgzip": (image_path, truncated_gzip, "truncated or damaged", "error", "read to its end"),
    "cutinside": (image_path, truncated_inside, "truncated or damaged", "error", ""),
    "nogzip": (image_path, no_gzip, "not readable as NIfTI", "error", ""),
    "empty": (image_path, lambda p: p.write_bytes(b""), "not readable as NIfTI", "error", ""),
    "text": (image_path, lambda p: p.write_text("no image"), "not readable as NIfTI", "error", ""),
    "otherformat": (
        image_path,
        lambda p: p.write_bytes(gzip.compress(b"not an image" * 100)),
        "not readable as NIfTI",
        "error",
        "",
    ),
    "encrypted": (image_path, encrypted, "encrypted", "error", "still encrypted"),
    "plane": (image_path, lambda p: save(p, head()[0]), "wrong dimensions", "error", "(24, 19)"),
    "series": (
        image_path,
        lambda p: save(p, np.stack([head()] * 3, -1)),
        "wrong dimensions",
        "error",
        "(20, 24, 19, 3)",
    ),
    "colors": (image_path, colors, "voxels are not numbers", "error", ""),
    "affine": (image_path, no_affine, "affine not usable", "error", "zero or not finite"),
    "nan": (image_path, with_value(np.nan), "NaN or infinite", "error", "1 voxels"),
    "inf": (image_path, with_value(-np.inf), "NaN or infinite", "error", "1 voxels"),
    "constant": (
        image_path,
        lambda p: save(p, np.full(GRID.shape, 7, np.float32)),
        "constant image",
        "error",
        "7 everywhere",
    ),
    "gone": (image_path, lambda p: p.unlink(), "file missing", "error", "no such file"),
    "maskgone": (mask_path, lambda p: p.unlink(), "missing mask", "error", "none"),
    "maskempty": (mask_path, times(0), "empty mask", "error", "none"),
    "maskfull": (mask_path, lambda p: save(p, lesion() | 1), "mask is all lesion", "error", "1 everywhere"),
    "maskgray": (mask_path, gray, "mask not binary", "error", "4 values: 0, 0.25, 0.5, 1"),
    "masknegative": (mask_path, times(-1), "mask not binary", "error", "2 values: -1, 0"),
    "masknan": (mask_path, with_value(np.nan), "NaN or infinite", "error", "1 voxels"),
    "maskcut": (mask_path, truncated_inside, "truncated or damaged", "error", ""),
    "maskshape": (
        mask_path,
        lambda p: save(p, np.pad(lesion(), 1)),
        "grid of mask and scan differ",
        "error",
        "shape 22 x 26 x 21",
    ),
    "maskorigin": (
        mask_path,
        lambda p: save(p, lesion(), affine(origin=ORIGIN + UP)),
        "grid of mask and scan differ",
        "error",
        "origin -98 x -134 x -71",
    ),
    "maskflip": (
        mask_path,
        lambda p: save(p, lesion(), affine() @ np.diag([-1, 1, 1, 1])),
        "grid of mask and scan differ",
        "error",
        "origin -288 x -134 x -72",
    ),
    "maskmirror": (
        mask_path,
        lambda p: save(p, *flipped(lesion())),
        "axes of mask and scan differ",
        "warning",
        "LAS",
    ),
    "mask255": (mask_path, times(255), "mask not 0 and 1", "note", "0, 255"),
    "series1": (
        image_path,
        lambda p: save(p, head()[..., None]),
        "one frame of a series",
        "note",
        "4-D, 20x24x19x1",
    ),
    "moved": (
        image_path,
        lambda p: save(p, MOVED + np.float32(5)),
        "not in MNI space",
        "warning",
        "when moved by about",
    ),
    "nohead": (
        image_path,
        lambda p: save(p, np.random.default_rng(0).random(GRID.shape, np.float32)),
        "not in MNI space",
        "warning",
        "no T1 scan of a head",
    ),
}
OTHER_GRID = {
    "gridshape": (np.pad(head(), 1), affine(origin=ORIGIN - 10), "grid", "shape 22 x 26 x 21"),
    "gridspacing": (head(), affine(9.0), "affine", "spacing 9 x 9 x 9"),
    "gridorigin": (head(), affine(origin=ORIGIN + UP / 2), "affine", "origin -98 x -134 x -71.5"),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """One data set with every fault, each in a subject of its own, and five good ones; checked once."""
    root = tmp_path_factory.mktemp("data")
    for number in range(5):
        put(root, f"sub-{number}")
    for name, (which, plant, *_) in FAULTS.items():
        put(root, f"sub-{name}")
        plant(which(root, f"sub-{name}"))
    for name, (data, matrix, *_) in OTHER_GRID.items():
        save(image_path(root, f"sub-{name}"), data, matrix)
        save(mask_path(root, f"sub-{name}"), (data > 100).astype(np.uint8), matrix)
    return root, check_dataset(discover(root))


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_found_and_told(broken, name):
    root, checked = broken
    which, _, problem, severity, found = FAULTS[name]
    own = [f for f in checked.findings if f.subject == f"sub-{name}"]
    (finding,) = [f for f in own if f.problem == problem]
    assert len(own) == (2 if name == "maskflip" else 1)  # of that the axes are said as well
    assert finding.severity == severity
    assert found in finding.found
    where = image_path if name == "maskgone" else which
    assert finding.file == where(root, f"sub-{name}").relative_to(root).as_posix()
    assert finding.session == "ses-1"
    assert all((finding.expected, finding.found, finding.remedy))
    assert "\n" not in "".join((finding.expected, finding.found, finding.remedy))
    used = f"sub-{name}" in {scan.subject for scan in checked.usable}
    assert used == (severity != "error")
    assert (f"sub-{name} ses-1" in put_aside(checked.findings)) == (severity == "error")


@pytest.mark.parametrize("name", OTHER_GRID)
def test_other_grid_than_the_data_set_s(broken, name):
    *_, what, found = OTHER_GRID[name]
    own = [f for f in broken[1].findings if f.subject == f"sub-{name}"]
    (finding,) = [f for f in own if "data set's" in f.problem]
    assert finding.problem == f"{what} differs from the data set's"
    assert finding.found == found
    assert finding.severity == "error"


def test_good_subjects_stay_and_the_grid_is_theirs(broken):
    checked = broken[1]
    assert {f"sub-{number}" for number in range(5)} <= {scan.subject for scan in checked.usable}
    assert not any(f.subject[4:].isdigit() for f in checked.findings)
    assert checked.grid.same_as(GRID)


def test_order_is_that_of_the_subjects(broken):
    subjects = [f.subject for f in broken[1].findings]
    assert subjects == sorted(subjects)


def test_workers_and_progress_change_nothing(root):
    truncated_gzip(image_path(root, "sub-2"))
    dataset, seen = discover(root), []
    assert check_dataset(dataset, 2, lambda *step: seen.append(step)) == check_dataset(dataset)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_testing_subjects_are_read_but_need_no_mask(root):
    save(image_path(root, "sub-7", "Testing/R005"), head())
    save(image_path(root, "sub-8", "Testing/R005"), head() * 0)
    checked = check_dataset(discover(root))
    assert problems(checked) == [("sub-8", "constant image", "error")]
    assert [scan.subject for scan in checked.usable] == ["sub-1", "sub-2", "sub-3"]


@pytest.mark.parametrize("axes", ["LAS", "LPS", "PIR", "SAL"])
def test_other_axes_are_said_and_read_right(root, axes):
    """Written with nibabel's own reorientation, read back as the data that a RAS file holds."""
    change = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axes)
    )
    for path in (image_path(root, "sub-2"), mask_path(root, "sub-2")):
        nib.save(nib.load(path).as_reoriented(change), path)
        assert "".join(nib.aff2axcodes(nib.load(path).affine)) == axes
    checked = check_dataset(discover(root))
    assert problems(checked) == [("sub-2", "axes not RAS", "note")] * 2
    assert {finding.found for finding in checked.findings} == {axes}
    image, mask = read_subject(checked.usable[1], checked.grid)
    np.testing.assert_array_equal(image.data, head())
    np.testing.assert_array_equal(mask, lesion() > 0)


def test_all_in_other_axes_alike(tmp_path):
    """The common grid is RAS, whatever the files' own axes."""
    for subject in ("sub-1", "sub-2"):
        save(image_path(tmp_path, subject), *flipped(head()))
        save(mask_path(tmp_path, subject), *flipped(lesion()))
    checked = check_dataset(discover(tmp_path))
    assert checked.grid.same_as(GRID)
    assert not stopping(checked.findings)
    np.testing.assert_array_equal(read_subject(checked.usable[0], GRID)[1], lesion() > 0)


def test_duplicates_are_put_aside_with_their_files(root):
    save(image_path(root, "sub-2", "Testing/R005"), head())  # trained on and tested
    save(mask_path(root, "sub-3").with_suffix("").with_suffix(".nii"), lesion())
    stray = image_path(root, "sub-1").with_name("sub-9_ses-1_T1w.nii.gz")
    shutil.copy(image_path(root, "sub-1"), stray)
    checked = check_dataset(discover(root))
    assert problems(checked) == [
        ("sub-2", "duplicate subject", "error"),
        ("sub-3", "more than one lesion mask", "error"),
        ("sub-9", "name and folder disagree", "error"),
    ]
    assert [scan.subject for scan in checked.usable] == ["sub-1"]
    first = checked.findings[0]
    assert "Testing/R005" in first.found
    assert "Training/R001" in first.found
    assert "keep one" in first.remedy


def test_second_session_is_put_aside_and_the_subject_kept(root):
    put(root, "sub-2", session="ses-2")
    checked = check_dataset(discover(root))
    assert problems(checked) == [("sub-2", "second session", "error")]
    assert [scan.session for scan in checked.usable] == ["ses-1"] * 3
    assert put_aside(checked.findings) == ["sub-2 ses-2"]


def test_second_session_serves_where_the_first_is_broken(root):
    put(root, "sub-2", session="ses-2")
    truncated_gzip(image_path(root, "sub-2"))
    checked = check_dataset(discover(root))
    assert [scan.session for scan in checked.usable if scan.subject == "sub-2"] == ["ses-2"]
    assert put_aside(checked.findings) == ["sub-2 ses-1"]


@pytest.mark.parametrize(
    ("name", "stops"), [("maskempty", True), ("moved", True), ("series1", False), ("mask255", False)]
)
def test_strict_stops_at_errors_and_warnings(root, name, stops):
    which, plant, problem, *_ = FAULTS[name]
    plant(which(root, "sub-2"))
    shutil.rmtree(root / "Training/R001/sub-3")
    if stops:
        with pytest.raises(InputError, match=rf"strict is set, and .*sub-2.*{problem}"):
            check_dataset(discover(root), strict=True)
    else:
        (finding,) = check_dataset(discover(root), strict=True).findings
        assert finding.problem == problem


def test_log_names_what_is_put_aside_and_what_is_doubtful(root, caplog):
    times(0)(mask_path(root, "sub-1"))
    FAULTS["moved"][1](image_path(root, "sub-2"))
    times(255)(mask_path(root, "sub-3"))
    with caplog.at_level(logging.WARNING, "raxnet"):
        check_dataset(discover(root))
    first, second = caplog.messages
    assert first.startswith("put aside: Training/R001/sub-1/")
    assert second.startswith("used, but look at it: Training/R001/sub-2/")
    assert "register" in second


def test_long_log_ends_with_a_count(tmp_path, caplog):
    for number in range(30):
        path = image_path(tmp_path, f"sub-{number:02d}")
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
        mask_path(tmp_path, f"sub-{number:02d}").write_bytes(b"")
    with caplog.at_level(logging.WARNING, "raxnet"), pytest.raises(InputError, match="no usable scan"):
        check_dataset(discover(tmp_path))
    assert len(caplog.messages) == 21
    assert "40 more" in caplog.messages[-1]


def test_nothing_usable(tmp_path):
    put(tmp_path, "sub-1")
    times(0)(mask_path(tmp_path, "sub-1"))
    with pytest.raises(InputError, match=r"no usable scan; .*empty mask") as error:
        check_dataset(discover(tmp_path))
    assert "\n" not in str(error.value)
    assert inspect_dataset(discover(tmp_path))[1] == ()


def test_workers_that_are_killed_name_their_subject(root):
    """SIGKILL to every worker process as soon as it is seen: what a kernel out of memory does."""
    stop = threading.Event()

    def kill():
        while not stop.wait(0.05):
            for worker in multiprocessing.active_children():
                worker.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(WorkError, match="sub-1: the worker process died"):
            check_dataset(discover(root), workers=2)
    finally:
        stop.set()
        killer.join()
