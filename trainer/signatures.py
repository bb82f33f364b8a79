"""A trained network as a SavedModel that takes raw slices in native size (docs/spec/method.md#slices)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from lesions.provenance import ModelCard
from lesions.slices import ONE_SLICE, Canvas, Context
from trainer import records, warmup
from trainer.rearrange import rearrange

MICRO_BATCH = 8  # slices in the network at a time, however many are asked for
AT_ONCE = 2  # micro-batches: one reads and writes memory while the other multiplies
FLOAT_BYTES = 4
THRESHOLD = 0.5
LARGEST = 1e36  # intensity; 255 times as much is still a float32
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
        self.network = rearrange(network)
        self.height, self.width = shape
        self.slices, self.target = channels, context.index(0)
        self.stacked = [] if channels == 1 else [channels]
        self.pads = [[0, 0], [0, 0], list(padding.rows), list(padding.columns)]
        canvas = tf.TensorSpec([None, *padding.padded(*shape), channels], tf.float32)
        # Traced once for all signatures: tracing a hundred layers is what takes time in an export.
        self.forward = tf.function(
            lambda image: self.network(image, training=False), input_signature=[canvas]
        )

    def probabilities(self, stacks: tf.Tensor) -> tf.Tensor:
        """(N, slices, height, width) raw intensities to the target slices' probabilities (N, height, width)."""
        positive = tf.clip_by_value(stacks, 0.0, LARGEST)
        peaks = tf.reduce_max(positive, axis=[2, 3], keepdims=True)  # each slice its own
        # The authors' order of operations (docs/spec/method.md#slices): the other differs by a rounding, which
        # the network enlarges.
        scaled = tf.math.divide_no_nan(255.0 * positive, peaks)
        canvas = tf.transpose(tf.pad(scaled, self.pads), [0, 2, 3, 1])
        whole = self.forward(canvas)[..., 0]
        top, left = self.pads[2][0], self.pads[3][0]
        cropped = whole[:, top : top + self.height, left : left + self.width]
        # Trained on no empty slice, it has nothing to say of one.
        return tf.where(peaks[:, self.target] > 0.0, cropped, 0.0)

    def in_micro_batches(self, function: Function, items: tf.Tensor, result: tf.TensorSpec) -> tf.Tensor:
        """Maps a function over (N, ...) items, AT_ONCE x MICRO_BATCH at a time: memory stays bounded for any N."""
        groups = (tf.shape(items)[0] + MICRO_BATCH - 1) // MICRO_BATCH
        done = tf.TensorArray(result.dtype, size=groups, element_shape=result.shape, infer_shape=False)
        for i in tf.range(groups):
            tf.autograph.experimental.set_loop_options(parallel_iterations=AT_ONCE)
            done = done.write(i, function(items[i * MICRO_BATCH : (i + 1) * MICRO_BATCH]))
        return done.concat()

    def serve(self, slices: tf.Tensor) -> dict[str, tf.Tensor]:
        """serving_default: slices or stacks -> probabilities (N, height, width)."""
        slices = tf.ensure_shape(slices, [None, *self.stacked, self.height, self.width])
        stacks = tf.reshape(slices, [-1, self.slices, self.height, self.width])
        spec = tf.TensorSpec([None, self.height, self.width], tf.float32)
        return {"probabilities": self.in_micro_batches(self.probabilities, stacks, spec)}

    def serve_bytes(self, slices_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """slices_bytes: what `serve` does, packed (see `unpack`), so that REST carries base64, not digits."""
        slices_bytes = tf.ensure_shape(slices_bytes, [None])

        def packed(some: tf.Tensor) -> tf.Tensor:
            return pack(self.probabilities(unpack(some, (self.slices, self.height, self.width))))

        answer = self.in_micro_batches(packed, slices_bytes, tf.TensorSpec([None], tf.string))
        return {"probabilities_bytes": answer}

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


def unpack(packed: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """(N,) strings, each the little-endian float32 of an array of `shape` in row-major order, to (N, *shape)."""
    size = math.prod(shape) * FLOAT_BYTES
    wanted = f"each string must hold {' x '.join(map(str, shape))} little-endian float32, {size} bytes"
    whole = tf.debugging.assert_equal(tf.strings.length(packed), size, wanted)
    with tf.control_dependencies([whole]):
        return tf.reshape(tf.io.decode_raw(packed, tf.float32), [-1, *shape])


def pack(arrays: tf.Tensor) -> tf.Tensor:
    """The inverse of `unpack`, (N, ...) float32 to (N,) strings.

    TensorFlow has no operation for it: a serialized tensor ends in its raw values, and these are cut off.
    """
    size = tf.size(arrays[:1]) * FLOAT_BYTES

    def one(array: tf.Tensor) -> tf.Tensor:
        return tf.strings.substr(tf.io.serialize_tensor(array), -size, size)

    return tf.map_fn(one, arrays, fn_output_signature=tf.TensorSpec([], tf.string))


class CardTeller(tf.Module):
    """Tells a model's card, so that a client of a server knows the grid and the training data."""

    def __init__(self, card: ModelCard):
        """Args: card: The card."""
        super().__init__(name="raxnet_card")
        self.text = card.as_json()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "query")])
    def tell(self, query: tf.Tensor) -> dict[str, tf.Tensor]:
        """card: (N,) anything -> (N,) the card as JSON."""
        query = tf.ensure_shape(query, [None])
        return {"card": tf.fill(tf.shape(query), self.text)}


def export(
    network: keras.Model,
    shape: tuple[int, int],
    padding: Canvas,
    folder: Path,
    context: Context = ONE_SLICE,
    card: ModelCard | None = None,
) -> None:
    """Writes a SavedModel with the signatures `serving_default`, `slices_bytes`, `counts` and, with a card, `card`.

    Args:
        network: Trained, from (N, rows, columns, slices) in [0, 255] to probabilities (N, rows, columns, 1).
        shape: (height, width) of a slice.
        padding: The canvas.
        folder: Where saved_model.pb goes.
        context: Offsets of the slices that the network sees.
        card: What it was trained on; written into the model, with warm-up requests for TF Serving.
    """
    module = PlaneModel(network, shape, padding, context)
    examples = tf.TensorSpec([None, *module.stacked], tf.string, "examples")
    count = tf.function(module.count, input_signature=[examples])
    save(module, folder, (*module.stacked, *shape), card, counts=count)


def save(
    module: tf.Module,
    folder: Path,
    asked_with: tuple[int, ...],
    card: ModelCard | None = None,
    **more: tf.types.experimental.PolymorphicFunction,
) -> None:
    """Saves a module that has `serve` and `serve_bytes`, and a card beside it.

    Args:
        module: The module.
        folder: Where saved_model.pb goes.
        asked_with: Shape of a slice, or of a stack of slices.
        card: Written into the model.
        **more: Further signatures.
    """
    slices = tf.TensorSpec([None, *asked_with], tf.float32, "slices")
    packed = tf.TensorSpec([None], tf.string, "slices_bytes")
    functions = {
        "serving_default": tf.function(module.serve, input_signature=[slices]),
        "slices_bytes": tf.function(module.serve_bytes, input_signature=[packed]),
        **more,
    }
    if card:
        module.teller = CardTeller(card)
        functions["card"] = module.teller.tell
    level = logging.getLogger("absl").level
    tf.saved_model.save(module, str(folder), signatures=functions)
    logging.getLogger("absl").setLevel(level)  # saving leaves another one behind
    if card:
        card.write(folder)
        warmup.write(folder, card)
