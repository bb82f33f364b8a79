"""X-Net (arXiv 1907.07000): depthwise separable blocks around a feature-similarity module; Keras 3, any backend."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from trainer.networks.blocks import Blocks, probability
from trainer.networks.registry import register

WEIGHT_DECAY = 1e-5  # L2 on the kernel of every convolution but the head's


@keras.saving.register_keras_serializable("raxnet")
class PositionSimilarity(layers.Layer):
    """Each position gets the sum of all positions' values, weighed by similarity, divided by their number."""

    def call(self, inputs: list[Any]) -> Any:
        """theta, phi and g, each (N, h, w, c), to (theta phi^T / hw) g, (N, h, w, c)."""
        _, height, width, channels = ops.shape(inputs[0])
        theta, phi, g = (ops.reshape(x, (-1, height * width, channels)) for x in inputs)
        # Not a fixed number: weights then transfer between the planes' sizes.
        positions = ops.cast(height * width, theta.dtype)
        similarity = ops.matmul(theta, ops.transpose(phi, (0, 2, 1))) / positions
        return ops.reshape(ops.matmul(similarity, g), (-1, height, width, channels))

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """That of each of the three."""
        return input_shape[0]

    def macs(self) -> int:
        """Multiply-adds per slice."""
        _, height, width, channels = self.output.shape
        return 2 * (height * width) ** 2 * channels


@register("xnet")
def xnet(height: int, width: int, batch_norm_momentum: float = 0.99) -> keras.Model:
    """Builds X-Net: 15,117,646 parameters at any input size (docs/spec/comparison_networks.md#x-net).

    Args:
        height: Rows of the canvas, a multiple of 16.
        width: Columns of the canvas, a multiple of 16.
        batch_norm_momentum: 0.99 in the method.

    Returns:
        A model from (N, height, width, 1) intensities in [0, 255] to (N, height, width, 1) probabilities.
    """
    blocks = Blocks(batch_norm_momentum, keras.regularizers.L2(WEIGHT_DECAY))
    image = x = keras.Input((height, width, 1), name="image")
    skips = []
    for level, filters in enumerate((64, 128, 256, 512), start=1):
        skips.append(_block(blocks, x, filters, f"e{level}"))
        x = layers.MaxPooling2D(2, name=f"e{level + 1}_pool")(skips[-1])
    x = _block(blocks, x, 1024, "e5")
    x = _similarity(blocks, x)
    for level, filters in ((4, 512), (3, 256), (2, 128), (1, 64)):
        x = layers.UpSampling2D(2, name=f"u{level}_up")(x)
        x = blocks.unit(x, filters, 3, f"u{level}")
        x = layers.Concatenate(name=f"d{level}_concat")([skips.pop(), x])
        x = _block(blocks, x, filters, f"d{level}")
    return keras.Model(image, probability(x), name="xnet")


def _block(blocks: Blocks, x: Any, filters: int, name: str) -> Any:
    """Three separable convolutions beside a 1x1 one, added; nothing after the sum."""
    residual = blocks.unit(x, filters, 1, f"{name}_residual")
    for number in (1, 2, 3):
        depthwise = layers.DepthwiseConv2D(
            3,
            padding="same",
            use_bias=False,
            depthwise_initializer="he_normal",
            depthwise_regularizer=blocks.regularizer,
            name=f"{name}_{number}_depthwise",
        )
        x = blocks.norm_relu(depthwise(x), f"{name}_{number}_depthwise")
        x = blocks.unit(x, filters, 1, f"{name}_{number}_point")
    return layers.Add(name=f"{name}_add")([x, residual])


def _similarity(blocks: Blocks, x: Any) -> Any:
    """The feature-similarity module at a sixteenth of the resolution."""
    y = blocks.unit(x, 128, 3, "fsm_in")
    views = [blocks.conv(64, 1, f"fsm_{name}", use_bias=False)(y) for name in ("theta", "phi", "g")]
    z = blocks.conv(128, 1, "fsm_value", use_bias=False)(PositionSimilarity(name="fsm_similarity")(views))
    y = layers.Add(name="fsm_inner_add")([y, z])
    return layers.Add(name="fsm_add")([blocks.unit(y, 1024, 3, "fsm_out"), x])
