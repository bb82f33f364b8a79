"""How long a network takes: a training step, a slice of an exported model; and what the machine can do."""

from __future__ import annotations

import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from lesions.provenance import read_card
from trainer import fit, steps
from trainer.signatures import AT_ONCE, MICRO_BATCH

STEPS, CALLS = 4, 3
SLICES = AT_ONCE * MICRO_BATCH  # in a model at a time


def seconds_per_step(model: keras.Model, feed: fit.Feed) -> float:
    """Mean seconds of a few training steps of full batches with their input, after one that is not counted.

    The model is trained by it.

    Args:
        model: From `fit.build`.
        feed: Of the training folds.
    """
    plan = feed.plan(0)
    full = [batch for batch in plan if len(batch) == len(plan[0])]
    goes = steps.of(model)
    goes.train(feed, full[:1], 0)  # traces, and compiles
    timed = (full * (STEPS + 1))[1 : STEPS + 1]
    start = time.perf_counter()
    goes.train(feed, timed, 0)
    return (time.perf_counter() - start) / len(timed)


def seconds_per_slice(model: Path) -> float:
    """Median seconds per slice of an exported model, asked for as many slices as it takes at a time.

    Args:
        model: SavedModel folder, with its card.
    """
    serve = tf.saved_model.load(str(model)).signatures["serving_default"]
    shape = read_card(model).asked_with
    slices = tf.constant(np.random.default_rng(0).random((SLICES, *shape), np.float32))
    serve(slices=slices)
    seconds = []
    for _ in range(CALLS):
        start = time.perf_counter()
        serve(slices=slices)["probabilities"].numpy()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)) / SLICES


def convolution_rate(seconds: float = 3.0) -> float:
    """The machine's FLOPs per second in float32 convolutions such as RAX-Net has most of: 3 x 3, 256 channels.

    Args:
        seconds: How long to try; the quickest call counts.
    """
    rows, columns, channels = 26, 30, 256
    image = tf.random.normal([SLICES, rows, columns, channels])
    kernel = tf.random.normal([3, 3, channels, channels])
    convolve = tf.function(lambda: tf.nn.conv2d(image, kernel, 1, "SAME"))
    convolve()
    taken, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        convolve().numpy()
        taken.append(time.perf_counter() - start)
    return 2 * 9 * channels**2 * SLICES * rows * columns / min(taken)


def state_bytes(model: keras.Model) -> int:
    """What a training of this model keeps: the last state with its optimizer's, and the best epoch's weights."""

    def size(variables: list[keras.Variable]) -> int:
        return sum(int(np.prod(v.shape)) * tf.as_dtype(v.dtype).size for v in variables)

    return 2 * size(model.variables) + size(model.optimizer.variables)
