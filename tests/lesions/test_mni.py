"""The check finds what lies in MNI space and what does not: with skull, without, near, far, upside down.

benchmarks/mni_check.py counts how often it is right on many phantoms.
"""

from importlib.resources import files

import numpy as np
import pytest
from scipy import ndimage

from lesions import mni, nifti
from lesions.grid import Grid, Volume, resample, template_grid
from lesions.phantom import make_subject

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def brain():
    return resample(nifti.read(files("nilearn.datasets.data") / mni.TEMPLATE), template_grid(2.0))


@pytest.fixture(scope="module")
def head(brain):
    """The template within CSF, bone and bright scalp, under a bias field and noise."""
    rng = np.random.default_rng(7)
    outside = ndimage.distance_transform_edt(brain.data < 10, sampling=2.0)
    data = brain.data.copy()
    for lower, upper, value in ((0, 4, 30), (4, 9, 15), (9, 16, 280)):
        data[(outside > lower) & (outside <= upper)] = value
    field = ndimage.gaussian_filter(rng.standard_normal(data.shape), 20)
    data = data * np.exp(0.2 * field / field.std()) + 8 * rng.standard_normal(data.shape)
    return Volume(np.abs(data).astype(np.float32), brain.grid)


def displaced(volume, shift=(0, 0, 0), turn=None, degrees=0.0, scale=1.0, spacing=3.0):
    """The same anatomy elsewhere, on the template's grid."""
    matrix = np.eye(4)
    if turn is not None:
        first, second = (turn + 1) % 3, (turn + 2) % 3
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        matrix[first, first], matrix[second, second], matrix[second, first], matrix[first, second] = (
            c,
            c,
            s,
            -s,
        )
    matrix[:3, :3] *= scale
    matrix[:3, 3] = shift
    there = Volume(volume.data, Grid.of(volume.data.shape, matrix @ volume.grid.matrix))
    return resample(there, template_grid(spacing))


@pytest.fixture(scope="module")
def phantom():
    return make_subject(0, 11, 3.0)[0]


@pytest.fixture(scope="module")
def large():
    """A lesion of 490 ml, the largest that a phantom has: most of one half of the brain."""
    scan, mask = make_subject(27, 103, 3.0)
    assert mask.data.sum() * 27 > 480_000
    return scan


@pytest.fixture(params=["head", "phantom", "large", "brain"])
def subject(request):
    """With skull, with skull and a lesion small and large, without skull."""
    return request.getfixturevalue(request.param)


def stripped(volume, brain):
    """Without what lies outside the template's brain."""
    inside = resample(brain, volume.grid).data > 0
    return Volume(np.where(inside, volume.data, 0).astype(np.float32), volume.grid)


@pytest.mark.parametrize("spacing", [1.0, 2.0, 3.0])
def test_scan_in_place_is_accepted(subject, spacing):
    check = mni.mni_check(resample(subject, template_grid(spacing)))
    assert check.verdict == mni.INSIDE
    assert not check.flagged
    assert check.best > 0.7
    assert check.offset < 7


# Lesions of 370 to 490 ml, of one half of the brain and (24 of seed 102) of both.
@pytest.mark.parametrize(
    ("index", "seed"),
    [(24, 102), *(pytest.param(*one, marks=pytest.mark.slow) for one in ((27, 103), (31, 100), (47, 101)))],
)
def test_the_largest_lesions_do_not_move_the_brain(index, seed, brain):
    scan, mask = make_subject(index, seed, 3.0)
    assert mask.data.sum() * 27 > 370_000
    alone = stripped(scan, brain)
    assert [mni.mni_check(v).verdict for v in (scan, alone)] == [mni.INSIDE] * 2
    assert mni.mni_check(displaced(scan, turn=2, degrees=-20)).verdict == mni.OUTSIDE
    assert mni.mni_check(displaced(alone, (0, 0, -20))).verdict == mni.OUTSIDE


@pytest.mark.parametrize(("axis", "sign"), [(0, 1), (1, -1), (2, 1)])
def test_five_are_accepted_and_twenty_are_not(subject, axis, sign):
    for amount, accepted in ((5 * sign, True), (20 * sign, False)):
        shift = [0, 0, 0]
        shift[axis] = amount
        for moved in (displaced(subject, shift), displaced(subject, turn=axis, degrees=amount)):
            check = mni.mni_check(moved)
            assert (check.verdict == mni.INSIDE) == accepted, (amount, check)
            assert (check.verdict == mni.OUTSIDE) != accepted, (amount, check)


@pytest.mark.parametrize("spacing", [1.0, 3.0])
def test_spacing_does_not_change_the_verdict(head, spacing):
    assert mni.mni_check(displaced(head, (0, 5, 0), spacing=spacing)).verdict == mni.INSIDE
    assert mni.mni_check(displaced(head, (0, 20, 0), spacing=spacing)).verdict == mni.OUTSIDE


def test_a_scanner_s_own_space_is_flagged(subject):
    moved = displaced(subject, (3, 20, -15), turn=0, degrees=12, scale=0.87)
    check = mni.mni_check(moved)
    assert check.verdict == mni.OUTSIDE
    assert "register" in check.message


@pytest.mark.parametrize("axis", [1, 2])
def test_upside_down_is_flagged(subject, axis):
    small = resample(subject, template_grid(3.0))
    matrix = small.grid.matrix
    matrix[axis] *= -1
    assert mni.mni_check(Volume(small.data, Grid.of(small.grid.shape, matrix))).flagged


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)])
def test_half_a_turn_is_surely_outside(phantom, axes):
    """As where a converter takes the patient's left for right and front for back."""
    matrix = phantom.grid.matrix
    matrix[list(axes)] *= -1
    check = mni.mni_check(Volume(phantom.data, Grid.of(phantom.grid.shape, matrix)))
    assert check.verdict == mni.OUTSIDE
    assert "is not in MNI space" in check.message


def test_far_away_is_surely_outside(phantom):
    """As where a file has no affine of its own: the middle of the volume becomes the origin."""
    check = mni.mni_check(displaced(phantom, (0, 18, 30), spacing=3.0))
    assert check.verdict == mni.OUTSIDE
    assert 25 < check.offset < 45
    assert check.best > check.similarity + 0.2


def test_orientation_on_disk_does_not_matter(head):
    turned = nifti.oriented_like(
        resample(head, template_grid(3.0)),
        np.array([[0, 0, -1, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]]),
    )
    assert mni.mni_check(turned).verdict == mni.INSIDE


def test_other_contrast_is_flagged(head, phantom):
    """White matter darker than gray and fluid bright, as in T2: no T1 scan, wherever it lies."""
    for scan in (head, phantom):
        inverted = np.where(scan.data > 0.02 * scan.data.max(), scan.data.max() - scan.data, 0)
        assert mni.mni_check(Volume(inverted.astype(np.float32), scan.grid)).flagged


@pytest.mark.parametrize("kind", ["noise", "ball", "constant"])
def test_what_is_no_head_is_flagged(kind):
    grid = template_grid(3.0)
    data = np.random.default_rng(0).random(grid.shape, dtype=np.float32)
    if kind == "ball":
        place = np.indices(grid.shape).reshape(3, -1).T - np.array(grid.shape) / 2
        data = (np.linalg.norm(place, axis=1) < 12).reshape(grid.shape).astype(np.float32)
    if kind == "constant":
        data[:] = 1
    check = mni.mni_check(Volume(data, grid))
    assert check.flagged
    assert "register" in check.message
    if kind != "ball":
        assert check.verdict == mni.OUTSIDE
        assert "no T1 scan" in check.message


# Phantoms for which the line search ends at a size far off and a lesser likeness than it began with.
@pytest.mark.parametrize("index", [31, 46])
def test_a_search_that_goes_astray_does_not_count(index):
    assert mni.mni_check(make_subject(index, 101, 3.0)[0]).verdict == mni.INSIDE


def test_intensity_scale_and_offset_do_not_matter(head):
    check, other = mni.mni_check(head), mni.mni_check(Volume(head.data * 17.0 - 300.0, head.grid))
    assert other.verdict == mni.INSIDE
    assert other.similarity == pytest.approx(check.similarity, abs=0.02)
