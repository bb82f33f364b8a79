import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.collections import LineCollection

from lesions.grid import Grid, Volume
from lesions.slices import AXIS, PLANES
from reports.cuts import Cut, close_up, cuts, largest_slice, outline, window
from reports.subjects import LEAST_SHOWN, draw_case, draw_subject

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9))
SHAPE = (12, 14, 10)


def box(*spans):
    mask = np.zeros(SHAPE, np.uint8)
    mask[tuple(slice(*span) for span in spans)] = 1
    return mask


def cut_of(truth, prediction=None, spacing=(1.0, 1.0)):
    prediction = np.zeros_like(truth) if prediction is None else prediction
    return Cut("axial", 0, 0.0, np.ones(truth.shape), truth, prediction, spacing)


@pytest.mark.parametrize("plane", PLANES)
def test_the_largest_slice_is_found_along_the_right_axis(plane):
    mask = box((2, 5), (3, 6), (4, 6))
    peak = {"sagittal": (8, 2, 2), "coronal": (2, 9, 2), "axial": (2, 2, 7)}[plane]
    wide = [slice(2, 10)] * 3
    wide[AXIS[plane]] = slice(peak[AXIS[plane]], peak[AXIS[plane]] + 1)
    mask[tuple(wide)] = 1
    assert largest_slice(mask, box((0, 12), (0, 14), (0, 10)), plane) == peak[AXIS[plane]]


def test_equal_slices_give_the_lowest_and_empty_masks_fall_back():
    empty = np.zeros(SHAPE, np.uint8)
    assert largest_slice(box((2, 5), (3, 6), (4, 6)), empty, "axial") == 4
    assert largest_slice(empty, box((2, 5), (3, 6), (7, 9)), "axial") == 7
    assert [largest_slice(empty, empty, plane) for plane in PLANES] == [5, 6, 7]


def test_cuts_hold_the_slice_its_place_in_millimeters_and_its_voxel_size():
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = (-10, -20, -30)
    image = Volume(np.random.default_rng(0).random(SHAPE), Grid.of(SHAPE, affine))
    truth = box((3, 4), (5, 6), (6, 7))
    axial, sagittal, coronal = cuts(image, truth, truth)
    assert (axial.index, sagittal.index, coronal.index) == (6, 3, 5)
    assert (axial.position, sagittal.position, coronal.position) == (-6.0, -4.0, -5.0)
    assert (axial.spacing, sagittal.spacing, coronal.spacing) == ((2, 3), (3, 4), (2, 4))
    np.testing.assert_array_equal(axial.image, image.data[:, :, 6])
    np.testing.assert_array_equal(sagittal.image, image.data[3])
    np.testing.assert_array_equal(coronal.image, image.data[:, 5])
    assert axial.truth[3, 5]
    assert axial.truth.sum() == 1


def test_the_outline_of_one_voxel_is_its_four_edges():
    mask = np.zeros((5, 5), bool)
    mask[2, 3] = True
    found = {tuple(sorted(map(tuple, segment))) for segment in outline(mask)}
    assert found == {((2, 3), (2, 4)), ((3, 3), (3, 4)), ((2, 3), (3, 3)), ((2, 4), (3, 4))}


@given(MASKS)
@settings(max_examples=60, deadline=None)
def test_the_mask_is_what_an_odd_number_of_outline_edges_encloses(mask):
    counts = np.zeros((mask.shape[0] + 1, mask.shape[1]), int)
    for (x, y), (other, _) in outline(mask):
        if x == other:
            counts[int(x), int(y)] += 1
    np.testing.assert_array_equal(np.cumsum(counts, axis=0)[:-1] % 2 == 1, mask)


@given(MASKS, st.floats(0.5, 20), st.floats(0.5, 20))
@settings(max_examples=60, deadline=None)
def test_the_close_up_is_a_square_inside_the_slice_that_holds_the_lesion_where_it_can(mask, wide, high):
    left, right, bottom, top = close_up(cut_of(mask, spacing=(wide, high)))
    size = np.array(mask.shape) * (wide, high)
    assert right - left == pytest.approx(top - bottom)
    assert min(left, bottom) >= -1e-6
    assert right <= size[0] + 1e-6
    assert top <= size[1] + 1e-6
    found = np.argwhere(mask)
    if len(found) and (np.ptp(found, axis=0) + 1).max() * max(wide, high) * 1.25 <= size.min():
        assert (found.min(0) * (wide, high) >= [left - 1e-6, bottom - 1e-6]).all()
        assert ((found.max(0) + 1) * (wide, high) <= [right + 1e-6, top + 1e-6]).all()


def test_the_close_up_is_around_truth_and_prediction():
    truth, prediction = np.zeros((2, 200, 200), bool)
    truth[100:104, 90:94] = True
    assert close_up(cut_of(truth)) == (72, 132, 62, 122)
    prediction[140:144, 90:94] = True
    assert close_up(cut_of(truth, prediction)) == (92, 152, 62, 122)


def test_the_window_ignores_background_and_copes_with_a_flat_image():
    image = np.zeros((10, 10, 10))
    assert window(image) == (0.0, 1.0)
    image[:5] = 7.0
    assert window(image) == (7.0, 8.0)
    image[:5] = np.linspace(100, 200, 500).reshape(5, 10, 10)
    assert window(image) == pytest.approx((101, 199.5), abs=0.5)


def test_outlines_are_drawn_in_millimeters_where_the_masks_are():
    image = Volume(np.ones(SHAPE), Grid.of(SHAPE, np.diag([5.0, 5.0, 5.0, 1.0])))
    truth, prediction = box((3, 5), (4, 7), (2, 6)), box((4, 6), (4, 7), (2, 6))
    figure = draw_subject(image, truth, prediction)
    axial = figure.axes[6]  # third row: close-up with outlines
    lines = [np.array(c.get_segments()) for c in axial.collections if isinstance(c, LineCollection)]
    assert [found.reshape(-1, 2).min(0).tolist() for found in lines] == [[15, 20], [20, 20]]
    assert [found.reshape(-1, 2).max(0).tolist() for found in lines] == [[25, 35], [30, 35]]
    assert "axial, z = 10 mm" in figure.axes[0].get_title()


def test_left_is_left():
    image = Volume(np.zeros(SHAPE), Grid.of(SHAPE, np.eye(4)))
    image.data[2, 7, 5] = 9.0
    shown = draw_subject(image, box((2, 3), (7, 8), (5, 6)), np.zeros(SHAPE)).axes[0].images[0]
    assert shown.get_array()[7, 2] == 9.0  # rows go up (origin below), columns to the subject's right
    assert shown.origin == "lower"


@pytest.mark.heavy
def test_a_case_has_a_row_per_plane_and_truth_prediction_and_disagreement_apart():
    image = Volume(np.ones(SHAPE), Grid.of(SHAPE, np.diag([5.0, 5.0, 5.0, 1.0])))
    truth, prediction = box((3, 5), (4, 7), (2, 6)), box((4, 6), (4, 7), (2, 6))
    apart = np.where(prediction, 0.7, LEAST_SHOWN / 2)
    figure = draw_case(image, truth > 0, prediction > 0, apart)
    panels = figure.axes[:15]
    assert [axes.get_ylabel().split(",")[0] for axes in panels[::5]] == list(PLANES)
    heads = ["scan", "close-up", "truth", "prediction (fused)", "disagreement of planes"]
    assert [axes.get_title() for axes in panels[:5]] == heads
    tints = [axes.images[1].get_array()[..., 3] > 0 for axes in panels[2:4]]
    np.testing.assert_array_equal(tints[0], truth[:, :, 2].T > 0)
    np.testing.assert_array_equal(tints[1], prediction[:, :, 2].T > 0)
    heat = panels[4].images[1].get_array()
    np.testing.assert_array_equal(~heat.mask, prediction[:, :, 2].T > 0)
    assert heat.max() == 0.7
    assert len(draw_case(image, truth > 0, prediction > 0, None).axes) == 12
