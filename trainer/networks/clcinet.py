"""CLCI-Net (arXiv 1907.07008): cross-level fusion and context inference; in Keras 3 for any backend."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from trainer.networks.blocks import Blocks, probability
from trainer.networks.registry import register

FILTERS = (32, 64, 128, 256)
BRANCH = 256  # filters of each branch of the pyramid


@keras.saving.register_keras_serializable("raxnet")
def steep_gate(x: Any) -> Any:
    """clip(0.2 x + 0.5, 0, 1): the recurrent gate that the network was made with; Keras 3 has no such function."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


@register("clcinet")
def clcinet(height: int, width: int, batch_norm_momentum: float = 0.99) -> keras.Model:
    """Builds CLCI-Net: 36,838,305 parameters at any input size (docs/spec/comparison_networks.md#clci-net).

    Args:
        height: Rows of the canvas, a multiple of 16.
        width: Columns of the canvas, a multiple of 16.
        batch_norm_momentum: 0.99 in the method.

    Returns:
        A model from (N, height, width, 1) intensities in [0, 255] to (N, height, width, 1) probabilities.
    """
    blocks = Blocks(batch_norm_momentum)
    image = keras.Input((height, width, 1), name="image")

    x, levels = image, []
    for n, filters in enumerate(FILTERS, start=1):
        levels.append(blocks.double(x, filters, f"e{n}"))
        fused = layers.MaxPooling2D(2, name=f"s{n}_pool")(levels[-1])
        # Every level so far is strided straight to the next resolution; the newest comes first.
        for m, level in enumerate(levels, start=1):
            strided = blocks.unit(level, filters, 3, f"s{n}_{m}", strides=2 ** (n + 1 - m))
            fused = layers.Concatenate(name=f"s{n}_{m}_concat")([strided, fused])
        x = blocks.unit(fused, 8 * filters, 1, f"x{n}")

    x = blocks.double(x, 512, "bottleneck")
    x = layers.Dropout(0.5, name="bottleneck_dropout")(x)
    x = _pyramid(blocks, levels, x)
    for n in (4, 3, 2, 1):
        x = _infer(blocks, x, levels[n - 1], FILTERS[n - 1], f"d{n}")
    return keras.Model(image, probability(x), name="clcinet")


def _pyramid(blocks: Blocks, levels: list[Any], x: Any) -> Any:
    """Nine views of a sixteenth of the resolution, side by side, to 1024 channels."""
    branches = [
        blocks.unit(level, BRANCH, 3, f"strided_{n}", strides=2 ** (5 - n))
        for n, level in enumerate(levels, start=1)
    ]
    branches.append(blocks.unit(x, BRANCH, 1, "point"))
    branches += [blocks.unit(x, BRANCH, 3, f"dilated_{rate}", dilation_rate=rate) for rate in (2, 4, 6)]
    whole = layers.GlobalAveragePooling2D(keepdims=True, name="whole_mean")(x)
    whole = blocks.unit(whole, BRANCH, 1, "whole")
    branches.append(layers.UpSampling2D(x.shape[1:3], name="whole_spread")(whole))
    x = layers.Concatenate(name="merge_concat")(branches)
    x = blocks.unit(x, 1024, 1, "merge")
    return layers.Dropout(0.5, name="merge_dropout")(x)


def _infer(blocks: Blocks, x: Any, level: Any, filters: int, name: str) -> Any:
    """Context inference: what comes from below and the encoder's level are a sequence of two for a ConvLSTM."""
    up = blocks.unit(layers.UpSampling2D(2, name=f"{name}_up")(x), filters, 2, f"{name}_up")
    skip = blocks.unit(level, filters, 1, f"{name}_skip")
    steps = [
        layers.Reshape((1, *step.shape[1:]), name=f"{name}_step_{t}")(step)
        for t, step in enumerate((up, skip))
    ]
    sequence = layers.Concatenate(axis=1, name=f"{name}_sequence")(steps)
    x = layers.ConvLSTM2D(
        filters,
        3,
        padding="same",
        recurrent_activation=steep_gate,
        kernel_initializer="he_normal",
        unroll=True,  # two steps; a loop in the graph would be slower
        name=f"{name}_lstm",
    )(sequence)
    return blocks.double(x, filters, name)
