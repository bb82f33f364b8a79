"""Random changes of training slices: the same for a slice, its neighbors and its mask.

Every number is drawn from the seed, the epoch and the record, and from nothing else: a resumed training, another number
of threads and another order of the batches see the same slices.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from lesions.slices import AXIS
from trainer.settings import AugmentationSettings

PEAK = 255.0  # of every slice, as the network gets it (docs/spec/method.md#slices)
Pair = tuple[tf.Tensor, tf.Tensor]
Augment = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Pair]


def augmenter(settings: AugmentationSettings, plane: str, seed: int, epoch: int) -> Augment | None:
    """What changes the slices of one epoch; None where nothing is to be changed.

    Args:
        settings: What is changed, and by how much.
        plane: axial, sagittal or coronal: in the first rows of its slices left and right are known.
        seed: Of the training.
        epoch: From 0.

    Returns:
        A function of (n,) record numbers, stacks (n, slices, height, width) in [0, 255] and masks (n, height, width)
        in {0, 1}, which gives stacks and masks of the same shapes and ranges.
    """
    if settings == AugmentationSettings():
        return None
    key = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]) >> 1  # into int32

    def augment(records: tf.Tensor, stacks: tf.Tensor, masks: tf.Tensor) -> Pair:
        drawn = _draw(key, records)
        if settings.flip and plane != "sagittal":
            stacks, masks = _mirrored(drawn[:, 0] < 0.5, stacks, masks)
        if settings.shift or settings.rotation or settings.zoom:
            stacks, masks = _moved(2.0 * drawn[:, 1:5] - 1.0, settings, stacks, masks)
        if settings.gamma:
            power = tf.exp((2.0 * drawn[:, 5] - 1.0) * np.float32(np.log1p(settings.gamma)))
            stacks = PEAK * (stacks / PEAK) ** power[:, tf.newaxis, tf.newaxis, tf.newaxis]
        return stacks, masks

    return augment


def _draw(key: int, records: tf.Tensor) -> tf.Tensor:
    """(n, 6) numbers in [0, 1), each row from the key and its record."""

    def one(record: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform([6], tf.stack([tf.constant(key, tf.int64), record]))

    spec = tf.TensorSpec([6], tf.float32)
    return tf.map_fn(one, tf.cast(records, tf.int64), fn_output_signature=spec)


def _mirrored(which: tf.Tensor, stacks: tf.Tensor, masks: tf.Tensor) -> Pair:
    """Axial and coronal slices have the volume's first axis, left to right, as their rows."""
    assert AXIS["sagittal"] == 0
    flipped = tf.where(which[:, tf.newaxis, tf.newaxis, tf.newaxis], stacks[:, :, ::-1], stacks)
    return flipped, tf.where(which[:, tf.newaxis, tf.newaxis], masks[:, ::-1], masks)


def _moved(drawn: tf.Tensor, settings: AugmentationSettings, stacks: tf.Tensor, masks: tf.Tensor) -> Pair:
    """Turned and zoomed about the center, then shifted: in one interpolation, from outside come zeros.

    Args:
        drawn: (n, 4) in [-1, 1): shift of rows and of columns, rotation, zoom.
        settings: Their ranges.
        stacks: (n, slices, height, width).
        masks: (n, height, width).
    """
    size = tf.shape(masks)[1:]
    transforms = _transforms(drawn, settings, tf.cast(size, tf.float32))

    def moved(images: tf.Tensor, interpolation: str) -> tf.Tensor:
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=transforms,
            output_shape=size,
            fill_value=0.0,
            interpolation=interpolation,
            fill_mode="CONSTANT",
        )

    images = tf.transpose(moved(tf.transpose(stacks, [0, 2, 3, 1]), "BILINEAR"), [0, 3, 1, 2])
    # Each slice has its own peak again, as a scan's would.
    images = PEAK * tf.math.divide_no_nan(images, tf.reduce_max(images, axis=[2, 3], keepdims=True))
    images = tf.ensure_shape(images, stacks.shape)
    return images, tf.ensure_shape(moved(masks[..., tf.newaxis], "NEAREST")[..., 0], masks.shape)


def _transforms(drawn: tf.Tensor, settings: AugmentationSettings, size: tf.Tensor) -> tf.Tensor:
    """(n, 8): from a pixel (x, y) of the result to the one that it comes from, as the operation wants them."""
    down, right = drawn[:, 0] * settings.shift * size[0], drawn[:, 1] * settings.shift * size[1]
    angle = drawn[:, 2] * np.float32(np.deg2rad(settings.rotation))
    smaller = 1.0 / (1.0 + drawn[:, 3] * settings.zoom)
    cosine, sine = smaller * tf.cos(angle), smaller * tf.sin(angle)
    y, x = (size[0] - 1.0) / 2.0, (size[1] - 1.0) / 2.0
    first = x - cosine * (x + right) + sine * (y + down)
    second = y - sine * (x + right) - cosine * (y + down)
    none = tf.zeros_like(angle)
    return tf.stack([cosine, -sine, first, sine, cosine, second, none, none], axis=1)
