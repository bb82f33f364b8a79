"""A head moved by a known amount is laid back onto the template, and its mask comes back to where it was moved from."""

import subprocess
import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from lesions import nifti
from lesions.errors import InputError
from lesions.grid import Grid, Volume, resample, template_grid
from lesions.mni import INSIDE
from lesions.phantom import make_subject
from lesions.template import read_template
from serving import registration
from serving.segmenter import segment

ROOT = Path(__file__).parents[2]
MOVES = {  # shift (mm), turns (degrees), sizes, shear
    "far": ((23, -23, 23), (0, 0, 0), (1, 1, 1), 0),
    "turned": ((0, 0, 0), (20, 0, 0), (1, 1, 1), 0),
    "all": ((-15, 20, 10), (-12, 10, 15), (1.06, 0.95, 1.02), 0.03),
    "origin at a corner": ((98, 134, 72), (5, 0, 0), (1, 1, 1), 0),
}


def move(shift, turns, sizes, shear):
    """(4, 4) of a known motion, mm."""
    linear = np.diag(sizes).astype(float)
    linear[0, 1] = shear
    for axis, angle in enumerate(np.deg2rad(turns)):
        turn, (first, second) = np.eye(3), ((axis + 1) % 3, (axis + 2) % 3)
        turn[[first, second], [first, second]] = np.cos(angle)
        turn[second, first], turn[first, second] = np.sin(angle), -np.sin(angle)
        linear = turn @ linear
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, shift
    return matrix


def moved(volume, motion):
    return Volume(volume.data, Grid.of(volume.grid.shape, motion @ volume.grid.matrix))


@pytest.fixture(scope="module")
def brain_points():
    """(4, n) mm, homogeneous."""
    brain = resample(read_template("t1"), template_grid(8.0))
    return brain.grid.matrix @ np.c_[np.argwhere(brain.data > 20), np.ones((brain.data > 20).sum())].T


@pytest.fixture(scope="module")
def subject():
    """A phantom head at 3 mm and its lesion mask."""
    scan, mask = make_subject(3, 5, 3.0)
    return Volume(scan.data.astype(np.float32), scan.grid), mask


@pytest.fixture(scope="module")
def unmoved(subject):
    """Where the phantom's own shape, which is not the template's, is laid without any motion."""
    return registration.register(subject[0])


def apart(first, second, points):
    """Root mean square distance, mm."""
    return float(np.sqrt((((first - second) @ points)[:3] ** 2).sum(axis=0).mean()))


@pytest.mark.parametrize(
    "name",
    ["all", *(pytest.param(name, marks=pytest.mark.slow) for name in MOVES if name != "all")],
)
def test_known_motion_is_found(subject, unmoved, brain_points, name):
    motion = move(*MOVES[name])
    found = registration.register(moved(subject[0], motion))
    assert apart(found @ motion, unmoved, brain_points) < 0.5


def test_brain_alone_is_laid_onto_itself(brain_points):
    """Skull-stripped: the template's own brain with noise, other intensities, thick slices and another orientation."""
    brain = read_template("t1")
    grid = Grid.of((95, 78, 50), [[0, -2.5, 0, 95], [2.5, 0, 0, -130], [0, 0, 4.0, -72], [0, 0, 0, 1]])
    coarse = resample(brain, grid)
    noise = np.random.default_rng(0).normal(0, 20, grid.shape)
    scan = Volume((3 * coarse.data + noise * (coarse.data > 0)).astype(np.float32), grid)
    motion = move(*MOVES["all"])
    found = registration.register(moved(scan, motion))
    assert apart(found @ motion, np.eye(4), brain_points) < 0.8


def test_same_scan_gives_the_same_bits(subject, unmoved):
    np.testing.assert_array_equal(registration.register(subject[0]), unmoved)


def test_orientation_of_the_file_does_not_matter(subject, unmoved, brain_points):
    order = list(permutations(range(3)))[4]
    matrix = np.zeros((4, 4))
    matrix[list(order), range(3)] = (-1, 1, -1)
    matrix[3, 3] = 1
    turned = nifti.oriented_like(subject[0], matrix)
    assert turned.grid.shape != subject[0].grid.shape
    assert apart(registration.register(turned), unmoved, brain_points) < 0.1


def answer_by_place(points):
    """A model that knows the lesion's truth in the template's space: a ball, told from where a voxel lies."""
    center, radius = points

    def make(grid):
        places = np.moveaxis(np.indices(grid.shape), 0, -1) @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]
        inside = (np.linalg.norm(places - center, axis=-1) <= radius).astype(np.float32)
        taken = {"axial": 0, "sagittal": 0, "coronal": 0}

        def answer(plane, slices):
            stack = {
                "axial": inside.transpose(2, 0, 1),
                "sagittal": inside,
                "coronal": inside.transpose(1, 0, 2),
            }
            start = taken[plane]
            taken[plane] += len(slices)
            return np.ascontiguousarray(stack[plane][start : start + len(slices)])

        return answer

    return make


@pytest.mark.usefixtures("coarse_registration")
def test_mask_comes_back_into_the_scan_s_own_space(spy, subject):
    """The model's own ball in template space, brought to a scan that was turned, shifted, sheared and resliced."""
    head = Volume(
        subject[0].data + np.float32(1), subject[0].grid
    )  # no slice is empty: all are asked in order
    motion = move(*MOVES["all"])
    own = Grid.of(
        (90, 100, 60),
        motion @ np.array([[-2.2, 0, 0, 98], [0, 2.4, 0, -134], [0, 0, 3.2, -74], [0, 0, 0, 1]]),
    )
    scan = resample(moved(head, motion), own, cval=1.0)
    center, radius, grid = np.array([-30.0, -10.0, 20.0]), 20.0, template_grid(3.0)
    predictor = spy(grid, answer=answer_by_place((center, radius))(grid))
    done = segment(scan, predictor, register="affine")
    assert done.mask.grid == own == done.probability.grid == done.uncertainty.grid
    assert done.mask.data.shape == own.shape
    assert done.mni.verdict == INSIDE
    assert not done.messages
    # The truth, put there by the transform that was found: what reslicing of a mask alone changes is left.
    places = np.moveaxis(np.indices(own.shape), 0, -1) @ own.matrix[:3, :3].T + own.matrix[:3, 3]
    places = places @ done.transform[:3, :3].T + done.transform[:3, 3]
    far = np.linalg.norm(places - center, axis=-1) - radius
    assert done.mask.data[far < -3].all()
    assert not done.mask.data[far > 3].any()
    # And by the motion that was made: the phantom's brain is not the template's, so only nearly.
    back = np.moveaxis(np.indices(own.shape), 0, -1) @ own.matrix[:3, :3].T + own.matrix[:3, 3]
    back = back @ np.linalg.inv(motion)[:3, :3].T + np.linalg.inv(motion)[:3, 3]
    truth = np.linalg.norm(back - center, axis=-1) <= radius
    assert 2 * (truth & (done.mask.data > 0)).sum() / (truth.sum() + done.mask.data.sum()) > 0.8


def test_unregistered_scan_has_no_transform(spy, grid, scan_data):
    assert segment(Volume(scan_data(), grid), spy()).transform is None


@pytest.mark.usefixtures("coarse_registration")
def test_what_is_no_head_is_warned_of_after_registration(spy):
    grid = template_grid(6.0)
    noise = np.random.default_rng(1).uniform(0, 100, grid.shape).astype(np.float32)
    done = segment(Volume(noise, grid), spy(grid), register="affine")
    assert any(line.startswith("registered, yet the scan") for line in done.messages)


def test_what_cannot_be_laid_onto_the_template_is_refused(subject, monkeypatch):
    monkeypatch.setattr(registration, "_refine", lambda itk, data: np.diag([0.4, 1, 1, 1]))
    with pytest.raises(InputError, match="cannot be laid onto the template"):
        registration.register(subject[0])


def test_transform_file_is_what_itk_reads(tmp_path, brain_points):
    itk = pytest.importorskip("SimpleITK")
    matrix = move(*MOVES["all"])
    (tmp_path / "x.txt").write_text(registration.as_itk(matrix))
    read = itk.ReadTransform(str(tmp_path / "x.txt"))
    for point in brain_points[:3, ::200].T:
        to_scan = np.array(read.TransformPoint([-point[0], -point[1], point[2]])) * [-1, -1, 1]
        np.testing.assert_allclose(matrix @ [*to_scan, 1], [*point, 1], atol=1e-9)


def test_transform_file_brings_the_scan_onto_the_template(tmp_path, subject):
    """As `antsApplyTransforms -i scan -r template -t x.txt` does: SimpleITK's resampling with the files alone."""
    itk = pytest.importorskip("SimpleITK")
    motion = move(*MOVES["far"])
    nifti.write(tmp_path / "scan.nii.gz", moved(subject[0], motion))
    nifti.write(tmp_path / "template.nii.gz", subject[0])
    (tmp_path / "x.txt").write_text(registration.as_itk(np.linalg.inv(motion)))
    scan, template = (
        itk.ReadImage(str(tmp_path / f"{n}.nii.gz"), itk.sitkFloat32) for n in ("scan", "template")
    )
    placed = itk.Resample(scan, template, itk.ReadTransform(str(tmp_path / "x.txt")), itk.sitkLinear)
    np.testing.assert_allclose(itk.GetArrayFromImage(placed).T, subject[0].data, atol=0.5)


def test_unknown_method():
    with pytest.raises(InputError, match="'rigid'"):
        registration.require("rigid")


def test_without_simpleitk_one_sentence_says_how_to_get_it(tmp_path):
    """In a process where the library cannot be imported; nothing else needs it."""
    code = (
        "import sys; sys.modules['SimpleITK'] = None\n"
        "from serving import registration\n"
        "registration.require(None)\n"
        "from pipeline.cli.main import main\n"
        f"sys.exit(main(['segment', {str(tmp_path / 'x.nii')!r}, {str(tmp_path / 'out')!r}, '--register', 'affine']))"
    )
    (tmp_path / "x.nii").touch()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "pip install SimpleITK" in done.stderr
