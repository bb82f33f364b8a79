"""Random changes: masks stay binary and on their lesion, and all of it follows from seed, epoch and record."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from lesions.slices import canvas, slice_shape
from tests.trainer.conftest import GRID
from trainer import input
from trainer.augment import augmenter
from trainer.settings import AugmentationSettings

ALL = AugmentationSettings(flip=True, shift=0.1, rotation=20.0, zoom=0.2, gamma=0.5)
HEIGHT, WIDTH = 40, 32


def blob(count=6, slices=1):
    """Slices that are white where their mask is, off the center, and gray elsewhere; and their masks."""
    rows, columns = np.indices((HEIGHT, WIDTH))
    mask = ((rows - 14) / 9) ** 2 + ((columns - 18) / 6) ** 2 <= 1
    masks = np.repeat(mask[None], count, 0).astype(np.float32)
    return tf.constant(np.repeat(60 + 195 * masks[:, None], slices, 1)), tf.constant(masks)


def changed(settings, plane="axial", seed=1, epoch=0, records=range(6), slices=1):
    stacks, masks = blob(len(records), slices)
    return [
        part.numpy()
        for part in augmenter(settings, plane, seed, epoch)(tf.constant(list(records)), stacks, masks)
    ]


@given(
    st.builds(
        AugmentationSettings,
        flip=st.booleans(),
        shift=st.floats(0, 0.2),
        rotation=st.floats(0, 180),
        zoom=st.floats(0, 0.4),
        gamma=st.floats(0.01, 2),
    ),
    st.integers(0, 2**31),
)
def test_masks_stay_binary_and_on_their_lesion(settings, seed):
    stacks, masks = changed(settings, seed=seed)
    assert set(np.unique(masks)) <= {0.0, 1.0}
    assert np.isfinite(stacks).all()
    assert stacks.min() >= 0
    for image, mask in zip(stacks[:, 0], masks, strict=True):
        assert image.max() == pytest.approx(255, rel=1e-5)
        # Half intensity is the edge; gamma moves it, so the image is undone by its own order, not by its value.
        white = image >= np.sort(image, axis=None)[-int(mask.sum())]
        overlap = 2 * (white & (mask > 0)).sum() / (white.sum() + mask.sum())
        assert overlap > 0.93


def test_every_change_does_something_and_something_else_for_each_record():
    for name, value in vars(ALL).items():
        stacks, _ = changed(AugmentationSettings(**{name: value}))
        before, _ = blob()
        assert not np.array_equal(stacks, before), name
        assert len({stack.tobytes() for stack in stacks}) == (2 if name == "flip" else 6), name
    assert augmenter(AugmentationSettings(), "axial", 1, 0) is None


def test_left_and_right_are_the_rows_but_of_sagittal_slices():
    before, truth = (part.numpy() for part in blob())
    flip = AugmentationSettings(flip=True)
    for plane in ("axial", "coronal"):
        stacks, masks = changed(flip, plane)
        turned = [bool(np.array_equal(mask, whole[::-1])) for mask, whole in zip(masks, truth, strict=True)]
        assert 0 < sum(turned) < 6
        for stack, mask, is_turned in zip(stacks, masks, turned, strict=True):
            assert is_turned or np.array_equal(mask, truth[0])
            np.testing.assert_array_equal(stack[0], 60 + 195 * mask)
    stacks, masks = changed(flip, "sagittal")
    np.testing.assert_array_equal(stacks, before)
    np.testing.assert_array_equal(masks, truth)


def test_a_shift_goes_as_far_as_it_says():
    _, masks = changed(AugmentationSettings(shift=0.2), records=range(200))
    rows = (masks.sum(axis=2) @ np.arange(HEIGHT)) / masks.sum(axis=(1, 2)) - 14
    columns = (masks.sum(axis=1) @ np.arange(WIDTH)) / masks.sum(axis=(1, 2)) - 18
    for moved, size in ((rows, HEIGHT), (columns, WIDTH)):
        assert np.abs(moved).max() <= 0.2 * size + 0.5
        assert np.ptp(moved) > 0.3 * size


def test_neighbors_move_with_their_slice():
    stacks, _ = changed(ALL, slices=4)
    for stack in stacks:
        for neighbor in stack[1:]:
            np.testing.assert_array_equal(neighbor, stack[0])


def test_all_follows_from_seed_epoch_and_record():
    one, again = changed(ALL), changed(ALL)
    np.testing.assert_array_equal(one[0], again[0])
    # Alone or in another batch, a record is changed the same.
    alone = changed(ALL, records=[4])
    np.testing.assert_array_equal(alone[0][0], one[0][4])
    np.testing.assert_array_equal(alone[1][0], one[1][4])
    for other in ({"seed": 2}, {"epoch": 1}):
        assert not np.array_equal(changed(ALL, **other)[0], one[0])


def test_batches_are_augmented_as_their_records_are_named(examples):
    index = input.read_index(examples, [2, 3])
    shape, padding = slice_shape(GRID.shape, "axial"), canvas(GRID.shape, "axial")
    augment = augmenter(ALL, "axial", 3, 1)
    rows = np.flatnonzero(index.rows["lesion_voxels"] > 0)[:6]
    ((image, mask),) = input.dataset(index, [rows], shape, padding, augment=augment)
    parts = [rows[::-1][:3], rows[::-1][3:]]
    reverse = list(input.dataset(index, parts, shape, padding, augment=augment))
    np.testing.assert_array_equal(image, np.concatenate([part[0] for part in reverse])[::-1])
    np.testing.assert_array_equal(mask, np.concatenate([part[1] for part in reverse])[::-1])
    plain = next(iter(input.dataset(index, [rows], shape, padding)))
    assert not np.array_equal(plain[0], image)
    assert set(np.unique(mask)) == {0.0, 1.0}
