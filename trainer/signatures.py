"""A trained network as a SavedModel that takes raw slices in native size (raxnet.md, 4)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from lesions.slices import ONE_SLICE, Canvas, Context
from trainer import records

MICRO_BATCH = 16  # slices in the network at a time, however many are asked for
THRESHOLD = 0.5
Function = Callable[[tf.Tensor], tf.Tensor]


class PlaneModel(tf.Module):
    """The network with scaling, padding and cropping around it.

    A network that sees one slice is asked with slices (N, height, width), any other with stacks
    (N, slices, height, width) in the order of its context.
    """

    def __init__(self, network: keras.Model, shape: tuple[int, int], padding: Canvas, context: Context):
        """Args: network: Trained. shape: (height, width) of a slice. padding: The canvas. context: Its offsets."""
        super().__init__(name="raxnet_plane")
        channels = network.input_shape[-1]
        if channels != len(context):
            raise ValueError(
                f"{network.name} takes {channels} slices, its context has {len(context)}: {context}"
            )
        self.network = network
        self.height, self.width = shape
        self.slices, self.target = channels, context.index(0)
        self.stacked = [] if channels == 1 else [channels]
        self.pads = [[0, 0], [0, 0], list(padding.rows), list(padding.columns)]
        canvas = tf.TensorSpec([None, *padding.padded(*shape), channels], tf.float32)
        # Traced once for all signatures: tracing a hundred layers is what takes time in an export.
        self.forward = tf.function(lambda image: network(image, training=False), input_signature=[canvas])

    def probabilities(self, stacks: tf.Tensor) -> tf.Tensor:
        """(N, slices, height, width) raw intensities to the target slices' probabilities (N, height, width)."""
        positive = tf.maximum(stacks, 0.0)
        peaks = tf.reduce_max(positive, axis=[2, 3], keepdims=True)  # each slice its own
        scaled = tf.math.divide_no_nan(positive, peaks) * 255.0
        canvas = tf.transpose(tf.pad(scaled, self.pads), [0, 2, 3, 1])
        whole = self.forward(canvas)[..., 0]
        top, left = self.pads[2][0], self.pads[3][0]
        cropped = whole[:, top : top + self.height, left : left + self.width]
        # Trained on no empty slice, it has nothing to say of one.
        return tf.where(peaks[:, self.target] > 0.0, cropped, 0.0)

    def in_micro_batches(self, function: Function, items: tf.Tensor, result: tf.TensorSpec) -> tf.Tensor:
        """Maps a function over (N, ...) items, MICRO_BATCH at a time: memory stays bounded for any N."""
        groups = (tf.shape(items)[0] + MICRO_BATCH - 1) // MICRO_BATCH
        done = tf.TensorArray(result.dtype, size=groups, element_shape=result.shape, infer_shape=False)
        for i in tf.range(groups):
            done = done.write(i, function(items[i * MICRO_BATCH : (i + 1) * MICRO_BATCH]))
        return done.concat()

    def serve(self, slices: tf.Tensor) -> dict[str, tf.Tensor]:
        """serving_default: slices or stacks -> probabilities (N, height, width)."""
        slices = tf.ensure_shape(slices, [None, *self.stacked, self.height, self.width])
        stacks = tf.reshape(slices, [-1, self.slices, self.height, self.width])
        spec = tf.TensorSpec([None, self.height, self.width], tf.float32)
        return {"probabilities": self.in_micro_batches(self.probabilities, stacks, spec)}

    def count(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """counts: serialized records -> true positives, false positives, false negatives of each target slice.

        Args:
            examples: (N,), or (N, slices) with "" for a neighbor that has no record.
        """
        examples = tf.ensure_shape(examples, [None, *self.stacked])
        spec = tf.TensorSpec([None, 3], tf.int64)
        counts = self.in_micro_batches(self._counts, tf.reshape(examples, [-1, self.slices]), spec)
        return {"tp": counts[:, 0], "fp": counts[:, 1], "fn": counts[:, 2]}

    def _counts(self, examples: tf.Tensor) -> tf.Tensor:
        stacks, masks = records.decode_stacks(examples, self.target, self.height, self.width)
        predicted, truth = self.probabilities(stacks) > THRESHOLD, masks > 0.5
        pairs = (truth & predicted, ~truth & predicted, truth & ~predicted)
        return tf.stack([tf.reduce_sum(tf.cast(pair, tf.int64), axis=[1, 2]) for pair in pairs], axis=1)


def export(
    network: keras.Model,
    shape: tuple[int, int],
    padding: Canvas,
    folder: Path,
    context: Context = ONE_SLICE,
) -> None:
    """Writes a SavedModel with the signatures `serving_default` and `counts`.

    Args:
        network: Trained, from (N, rows, columns, slices) in [0, 255] to probabilities (N, rows, columns, 1).
        shape: (height, width) of a slice.
        padding: The canvas.
        folder: Where saved_model.pb goes.
        context: Offsets of the slices that the network sees.
    """
    module = PlaneModel(network, shape, padding, context)
    slices = tf.TensorSpec([None, *module.stacked, *shape], tf.float32, "slices")
    examples = tf.TensorSpec([None, *module.stacked], tf.string, "examples")
    serve = tf.function(module.serve, input_signature=[slices])
    count = tf.function(module.count, input_signature=[examples])
    level = logging.getLogger("absl").level
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve, "counts": count})
    logging.getLogger("absl").setLevel(level)  # saving leaves another one behind
