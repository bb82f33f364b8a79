"""A trained network as a SavedModel that takes raw slices in native size (raxnet.md, 4)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from lesions.slices import Canvas
from trainer import records

MICRO_BATCH = 16  # slices in the network at a time, however many are asked for
THRESHOLD = 0.5
Function = Callable[[tf.Tensor], tf.Tensor]


class PlaneModel(tf.Module):
    """The network with scaling, padding and cropping around it."""

    def __init__(self, network: keras.Model, shape: tuple[int, int], padding: Canvas):
        """Args: network: Trained. shape: (height, width) of a slice. padding: The canvas."""
        super().__init__(name="raxnet_plane")
        self.network = network
        self.height, self.width = shape
        self.pads = [[0, 0], list(padding.rows), list(padding.columns)]
        canvas = tf.TensorSpec([None, *padding.padded(*shape), 1], tf.float32)
        # Traced once for all signatures: tracing a hundred layers is what takes time in an export.
        self.forward = tf.function(lambda image: network(image, training=False), input_signature=[canvas])

    def probabilities(self, slices: tf.Tensor) -> tf.Tensor:
        """(N, height, width) raw intensities to lesion probabilities of the same shape; float32."""
        positive = tf.maximum(slices, 0.0)
        peak = tf.reduce_max(positive, axis=[1, 2], keepdims=True)
        scaled = tf.math.divide_no_nan(positive, peak) * 255.0
        canvas = tf.pad(scaled, self.pads)[..., tf.newaxis]
        whole = self.forward(canvas)[..., 0]
        top, left = self.pads[1][0], self.pads[2][0]
        cropped = whole[:, top : top + self.height, left : left + self.width]
        return tf.where(peak > 0.0, cropped, 0.0)  # trained on no empty slice, it has nothing to say of one

    def in_micro_batches(self, function: Function, items: tf.Tensor, result: tf.TensorSpec) -> tf.Tensor:
        """Maps a function over (N, ...) items, MICRO_BATCH at a time: memory stays bounded for any N."""
        groups = (tf.shape(items)[0] + MICRO_BATCH - 1) // MICRO_BATCH
        done = tf.TensorArray(result.dtype, size=groups, element_shape=result.shape, infer_shape=False)
        for i in tf.range(groups):
            done = done.write(i, function(items[i * MICRO_BATCH : (i + 1) * MICRO_BATCH]))
        return done.concat()

    def serve(self, slices: tf.Tensor) -> dict[str, tf.Tensor]:
        """serving_default: slices (N, height, width) -> probabilities (N, height, width)."""
        slices = tf.ensure_shape(slices, [None, self.height, self.width])
        spec = tf.TensorSpec([None, self.height, self.width], tf.float32)
        return {"probabilities": self.in_micro_batches(self.probabilities, slices, spec)}

    def count(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """counts: serialized records (N,) -> true positives, false positives, false negatives of each slice."""
        examples = tf.ensure_shape(examples, [None])
        spec = tf.TensorSpec([None, 3], tf.int64)
        counts = self.in_micro_batches(self._counts, examples, spec)
        return {"tp": counts[:, 0], "fp": counts[:, 1], "fn": counts[:, 2]}

    def _counts(self, examples: tf.Tensor) -> tf.Tensor:
        parsed = records.decode(examples, self.height, self.width)
        predicted = self.probabilities(parsed["image"]) > THRESHOLD
        truth = parsed["mask"] > 0.5
        pairs = (truth & predicted, ~truth & predicted, truth & ~predicted)
        return tf.stack([tf.reduce_sum(tf.cast(pair, tf.int64), axis=[1, 2]) for pair in pairs], axis=1)


def export(network: keras.Model, shape: tuple[int, int], padding: Canvas, folder: Path) -> None:
    """Writes a SavedModel with the signatures `serving_default` and `counts`.

    Args:
        network: Trained, from (N, rows, columns, 1) in [0, 255] to probabilities of the same shape.
        shape: (height, width) of a slice.
        padding: The canvas.
        folder: Where saved_model.pb goes.
    """
    module = PlaneModel(network, shape, padding)
    height, width = shape
    serve = tf.function(
        module.serve, input_signature=[tf.TensorSpec([None, height, width], tf.float32, "slices")]
    )
    count = tf.function(module.count, input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    level = logging.getLogger("absl").level
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve, "counts": count})
    logging.getLogger("absl").setLevel(level)  # saving leaves another one behind
