"""Grids and reslicing: against a linear field, whose values are known exactly, and against nibabel."""

import warnings

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.processing import resample_from_to

from lesions.grid import ATLAS_ORIGIN, ATLAS_SHAPE, Grid, Volume, resample, template_grid


def affine(spacing=(1.0, 1, 1), origin=(0.0, 0, 0), angles=(0.0, 0, 0)):
    return nib.affines.from_matvec(nib.eulerangles.euler2mat(*angles) @ np.diag(spacing), origin)


def linear_field(grid):
    places = np.moveaxis(np.indices(grid.shape), 0, -1) @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]
    return (100 + places @ [1.0, -2.0, 0.5]).astype(np.float32), places


def test_template_grid_is_that_of_atlas():
    grid = template_grid()
    assert grid.shape == ATLAS_SHAPE == (197, 233, 189)
    assert tuple(grid.matrix[:3, 3]) == ATLAS_ORIGIN
    assert grid.spacing == (1.0, 1.0, 1.0)
    coarse = template_grid(3.0)
    assert coarse.shape == (66, 78, 63)
    assert coarse.voxel_volume == pytest.approx(27)
    assert tuple(coarse.matrix[:3, 3]) == ATLAS_ORIGIN


def test_spacing_and_volume_of_an_oblique_grid():
    grid = Grid.of((3, 4, 5), affine((1, 2, 3), (7, 8, 9), (0.3, 0.2, 0.1)))
    assert grid.spacing == pytest.approx((1, 2, 3))
    assert grid.voxel_volume == pytest.approx(6)


@pytest.mark.parametrize(
    ("shape", "matrix"), [((3, 4), np.eye(4)), ((3, 4, 5, 1), np.eye(4)), ((3, 4, 5), np.eye(3))]
)
def test_a_grid_needs_three_dimensions(shape, matrix):
    with pytest.raises(ValueError, match="a grid needs"):
        Grid.of(shape, matrix)


def test_same_grid_is_measured_in_millimeters_at_the_corners():
    grid = template_grid()
    assert grid.same_as(Grid.of(grid.shape, grid.matrix + 1e-7))
    assert not grid.same_as(Grid.of((197, 233, 188), grid.matrix))
    assert not grid.same_as(Grid.of(grid.shape, grid.matrix + np.array([[0, 0, 0, 0.01]] + [[0] * 4] * 3)))
    tilted = grid.matrix
    tilted[0, 1] = 5e-4  # under a thousandth as a number, over a tenth of a millimeter at the forehead
    assert not grid.same_as(Grid.of(grid.shape, tilted))


def test_grid_survives_json():
    grid = Grid.of((3, 4, 5), affine((1, 2, 3), (7, 8, 9), (0.3, 0.2, 0.1)))
    content = grid.as_json()
    assert Grid.of(tuple(content["shape"]), content["affine"]) == grid


angle = st.floats(-0.5, 0.5)
edge = st.floats(0.7, 3.0)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(edge, edge, edge), st.tuples(angle, angle, angle), st.permutations(range(3)), st.integers(0, 7)
)
def test_a_linear_field_is_resliced_exactly(spacing, angles, order, flips):
    """Where neighbors exist trilinear interpolation, and smoothing, keep a linear field as it is."""
    signs = [1 if flips >> axis & 1 else -1 for axis in range(3)]
    turn = np.eye(3)[:, order] * signs
    matrix = affine(spacing, (0, 0, 0), angles) @ nib.affines.from_matvec(turn)
    shape = (34, 36, 32)
    matrix[:3, 3] = [5, -5, 3] - matrix[:3, :3] @ ((np.array(shape) - 1) / 2)
    source = Grid.of(shape, matrix)
    target = Grid.of((7, 6, 5), affine((1.1, 0.9, 1.3), (2, -8, 0)))
    moved = resample(Volume(linear_field(source)[0], source), target)
    expected, places = linear_field(target)
    inside = (places - source.matrix[:3, 3]) @ np.linalg.inv(source.matrix[:3, :3]).T
    deep = ((inside >= 6) & (inside <= np.array(shape) - 7)).all(axis=-1)
    assert deep.sum() > 20
    np.testing.assert_allclose(moved.data[deep], expected[deep], atol=2e-3)
    assert moved.grid == target


@pytest.mark.parametrize("angles", [(0, 0, 0), (0.2, -0.1, 0.3)])
@pytest.mark.parametrize("order", [0, 1])
def test_as_nibabel_where_voxels_do_not_grow(angles, order):
    rng = np.random.default_rng(0)
    source = Grid.of((20, 22, 18), affine((2, 2.5, 3), (-20, -25, -27), angles))
    data = rng.random(source.shape).astype(np.float32)
    target = Grid.of((30, 31, 29), affine((1.3, 1.2, 1.1), (-18, -20, -17)))
    ours = resample(Volume(data, source), target, order=order).data
    theirs = resample_from_to(
        nib.Nifti1Image(data, source.matrix), (target.shape, target.matrix), order, "grid-constant"
    )
    np.testing.assert_allclose(ours, theirs.get_fdata(), atol=1e-4)


def test_masks_keep_type_and_values():
    mask = (np.random.default_rng(0).random((20, 20, 20)) > 0.5).astype(np.uint8)
    moved = resample(
        Volume(mask, Grid.of(mask.shape, np.eye(4))), Grid.of((9, 9, 9), affine((2, 2, 2))), order=0
    )
    assert moved.data.dtype == np.uint8
    np.testing.assert_array_equal(moved.data, mask[:18:2, :18:2, :18:2])


def test_same_grid_is_not_touched():
    volume = Volume(np.zeros((3, 3, 3)), Grid.of((3, 3, 3), np.eye(4)))
    assert resample(volume, volume.grid) is volume


@pytest.mark.parametrize("angles", [(0, 0, 0), (0, 0, np.pi / 4), (0.6, 0.5, 0.4)])
def test_larger_voxels_average_whatever_the_angle(angles):
    """White noise loses its spread as by averaging; without smoothing it would keep most of it."""
    data = np.random.default_rng(0).standard_normal((60, 60, 60)).astype(np.float32)
    source = Grid.of(data.shape, np.eye(4))
    target = Grid.of((8, 8, 8), affine((3, 3, 3), (0, 0, 0), angles))
    matrix = target.matrix
    matrix[:3, 3] = 29.5 - 3.5 * matrix[:3, :3].sum(axis=1)
    coarse = resample(Volume(data, source), Grid.of(target.shape, matrix))
    assert 0.1 < coarse.data.std() < 0.2


def test_smoothing_is_along_the_coarse_axis_alone():
    data = np.zeros((41, 41, 41), np.float32)
    data[20, 20, 20] = 1
    same = resample(
        Volume(data, Grid.of(data.shape, np.eye(4))), Grid.of((41, 41, 14), affine((1, 1, 3), (0, 0, 2)))
    )
    column = same.data[20, 20]
    assert column[6] > 0.2
    assert column.sum() * 3 == pytest.approx(1, rel=0.1)
    assert np.count_nonzero(same.data.sum(axis=2)) == 1


def test_outside_is_filled_and_nothing_is_warned():
    volume = Volume(np.ones((5, 5, 5), np.float32), Grid.of((5, 5, 5), np.eye(4)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moved = resample(volume, Grid.of((5, 5, 5), affine(origin=(3, 0, 0))), cval=-7)
    np.testing.assert_array_equal(moved.data[:2], 1)
    np.testing.assert_array_equal(moved.data[2:], -7)


@pytest.mark.parametrize("order", [0, 1])
def test_a_rounding_error_does_not_cost_the_border(order):
    data = np.random.default_rng(0).random((6, 7, 8)).astype(np.float32)
    grid = Grid.of(data.shape, affine(origin=(-1e-4,) * 3))
    moved = resample(Volume(data, Grid.of(data.shape, np.eye(4))), grid, order)
    np.testing.assert_allclose(moved.data, data, atol=1e-3)


@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.float64])
def test_trilinear_values_are_float32(kind):
    data = np.arange(27).reshape(3, 3, 3).astype(kind)
    moved = resample(
        Volume(data, Grid.of(data.shape, np.eye(4))), Grid.of((2, 3, 3), affine(origin=(0.5, 0, 0)))
    )
    assert moved.data.dtype == np.float32
    np.testing.assert_allclose(moved.data, data[:2] + 4.5)
