"""Slices: cut and put back, in the method's own planes and on its own canvas (docs/spec/method.md#slices)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesions.grid import ATLAS_SHAPE
from lesions.slices import PLANES, canvas, cut, put_back, slice_shape
from tests.spec_pages import numbers

length = st.integers(1, 260)


def test_planes_of_the_atlas_grid():
    volume = np.broadcast_to(np.uint8(0), ATLAS_SHAPE)
    shapes = {plane: cut(volume, plane).shape for plane in PLANES}
    assert shapes == {"axial": (189, 197, 233), "sagittal": (197, 233, 189), "coronal": (233, 197, 189)}


def test_each_slice_is_the_plane_s_without_turning_it():
    volume = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    np.testing.assert_array_equal(cut(volume, "axial")[2], volume[:, :, 2])
    np.testing.assert_array_equal(cut(volume, "sagittal")[2], volume[2])
    np.testing.assert_array_equal(cut(volume, "coronal")[2], volume[:, 2])


def test_the_canvases_are_those_of_the_reference():
    made = []
    for plane in PLANES:
        shape, padding = slice_shape(ATLAS_SHAPE, plane), canvas(ATLAS_SHAPE, plane)
        made.append([*shape, *padding.rows, *padding.columns, *padding.padded(*shape)])
    assert numbers("method.md", "Slices", slice(2, None)) == made


@pytest.mark.heavy
@given(st.tuples(*[st.integers(1, 6)] * 3), st.sampled_from(PLANES))
def test_put_back_undoes_cut(shape, plane):
    volume = np.arange(np.prod(shape)).reshape(shape)
    stack = cut(volume, plane)
    assert stack.shape[1:] == slice_shape(shape, plane)
    np.testing.assert_array_equal(put_back(stack, plane), volume)
    assert put_back(stack, plane).base is not None  # a view: no copy of a volume


@pytest.mark.parametrize(
    ("plane", "rows", "columns", "size"),
    [
        ("axial", (6, 5), (3, 4), (208, 240)),
        ("sagittal", (3, 4), (9, 10), (240, 208)),
        ("coronal", (5, 6), (9, 10), (208, 208)),
    ],
)
def test_the_method_s_own_canvas(plane, rows, columns, size):
    pads = canvas(ATLAS_SHAPE, plane)
    assert (pads.rows, pads.columns) == (rows, columns)
    assert pads.padded(*slice_shape(ATLAS_SHAPE, plane)) == size


@given(st.tuples(length, length, length), st.sampled_from(PLANES))
def test_other_canvases_are_the_next_multiple_of_16(shape, plane):
    if shape == ATLAS_SHAPE:
        return
    pads = canvas(shape, plane)
    for size, (before, after) in zip(slice_shape(shape, plane), (pads.rows, pads.columns), strict=True):
        assert (size + before + after) % 16 == 0
        assert 0 <= before <= after <= before + 1
        assert before + after < 16
