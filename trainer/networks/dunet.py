"""D-UNet (arXiv 1908.05104): a U-Net whose encoder is joined by a 3-D one; in Keras 3 for any backend."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from trainer.networks.blocks import Blocks, probability
from trainer.networks.registry import register

CONTEXT = (-2, -1, 0, 1)  # the target is channel 2 of 4; pooled twice, fewer slices would leave no depth
SQUEEZE = 16


@register("dunet", context=CONTEXT)
def dunet(height: int, width: int, batch_norm_momentum: float = 0.99) -> keras.Model:
    """Builds D-UNet: 8,640,163 parameters at any input size (docs/spec/comparison_networks.md#d-unet).

    Args:
        height: Rows of the canvas, a multiple of 16.
        width: Columns of the canvas, a multiple of 16.
        batch_norm_momentum: 0.99 in the method.

    Returns:
        A model from (N, height, width, 4) intensities in [0, 255], the slices of CONTEXT, to
        (N, height, width, 1) probabilities of the target slice.
    """
    blocks = Blocks(batch_norm_momentum)
    image = keras.Input((height, width, len(CONTEXT)), name="image")

    v = layers.Reshape((height, width, len(CONTEXT), 1), name="v1_depth")(image)
    volumes = {1: blocks.double(v, 32, "v1", rank=3)}
    for level, filters in ((2, 64), (3, 128)):
        v = layers.MaxPooling3D(2, name=f"v{level}_pool")(volumes[level - 1])
        volumes[level] = blocks.double(v, filters, f"v{level}", rank=3)

    x = blocks.double(image, 32, "e1")
    skips = [x]
    for level, filters in ((2, 64), (3, 128), (4, 256), (5, 512)):
        x = layers.MaxPooling2D(2, name=f"e{level}_pool")(x)
        x = blocks.double(x, filters, f"e{level}")
        if level in volumes:
            x = _fuse(blocks, volumes[level], x, filters, f"f{level}")
        else:
            x = layers.Dropout(0.3, name=f"e{level}_dropout")(x)
        skips.append(x)

    x = skips.pop()
    for level, filters in ((4, 256), (3, 128), (2, 64), (1, 32)):
        x = layers.UpSampling2D(2, name=f"d{level}_up")(x)
        x = blocks.conv(filters, 2, f"d{level}_up_conv", activation="relu")(x)
        x = layers.Concatenate(name=f"d{level}_concat")([skips.pop(), x])
        x = blocks.double(x, filters, f"d{level}")
    return keras.Model(image, probability(x), name="dunet")


def _fuse(blocks: Blocks, volume: Any, plane: Any, filters: int, name: str) -> Any:
    """The dimension transform: the volume's depth becomes channels, and both are weighed and added."""
    z = blocks.conv(1, 1, f"{name}_flatten", rank=3)(volume)
    z = layers.Reshape(z.shape[1:-1], name=f"{name}_channels")(z)
    z = blocks.conv(filters, 3, f"{name}_conv", activation="relu")(z)
    parts = [_weighed(z, f"{name}_volume"), _weighed(plane, f"{name}_plane")]
    return layers.Add(name=f"{name}_add")(parts)


def _weighed(x: Any, name: str) -> Any:
    """Squeeze and excitation: each channel times a weight in [0, 1] that follows from all channels' means."""
    filters = x.shape[-1]
    s = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(x)
    for kind, units, activation in (("squeeze", filters // SQUEEZE, "relu"), ("excite", filters, "sigmoid")):
        dense = layers.Dense(
            units,
            activation=activation,
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{name}_{kind}",
        )
        s = dense(s)
    return layers.Multiply(name=f"{name}_scale")([x, s])
