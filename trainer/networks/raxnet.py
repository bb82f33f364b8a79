"""RAX-Net: residual attention X-shaped network (docs/spec/method.md#network), in Keras 3 for any backend."""

from __future__ import annotations

import keras
from keras import layers

from lesions.settings import require
from trainer.networks.blocks import probability
from trainer.networks.registry import register

ENCODER = ((64, 1), (128, 2), (256, 2))  # filters, units
DECODER = ((256, 4), (128, 4), (64, 2), (32, 2))


@register("raxnet")
def raxnet(
    height: int,
    width: int,
    batch_norm_momentum: float = 0.99,
    *,
    encoder_units: int = 0,
    decoder_units: int = 0,
    encoder_shortcuts: bool = True,
    residual_attention: bool = True,
) -> keras.Model:
    """Builds RAX-Net: 4,837,473 parameters at any input size; the options are its ablations.

    Args:
        height: Rows of the canvas, a multiple of 16.
        width: Columns of the canvas, a multiple of 16.
        batch_norm_momentum: 0.99 in the method; 0.9 for runs of a few hundred steps.
        encoder_units: Of every encoder stage; 0: the method's own 1, 2, 2. The authors' ablation has 1.
        decoder_units: Of every decoder stage; 0: the method's own 4, 4, 2, 2. The authors' ablation has 2.
        encoder_shortcuts: Whether each encoder stage's input is added to its output.
        residual_attention: Whether what the decoder and the encoder agree on is added to each decoder stage;
            without it nothing of the encoder but its end reaches the decoder.

    Returns:
        A model from (N, height, width, 1) intensities in [0, 255] to (N, height, width, 1) probabilities.

    Raises:
        ValueError: A number of units is negative.
    """
    require("network_options.encoder_units", encoder_units >= 0, "0 or more", encoder_units)
    require("network_options.decoder_units", decoder_units >= 0, "0 or more", decoder_units)

    def norm(name: str) -> layers.Layer:
        return layers.BatchNormalization(momentum=batch_norm_momentum, epsilon=1e-3, name=name)

    def conv(filters: int, size: int, name: str, strides: int = 1) -> layers.Layer:
        return layers.Conv2D(filters, size, strides=strides, padding="same", name=name)

    image = keras.Input((height, width, 1), name="image")
    x = conv(32, 3, "stem_conv", strides=2)(image)
    x = layers.ReLU(name="stem_relu")(norm("stem_norm")(x))
    skips = [image, x]

    for filters, units in ENCODER:
        block, entry = f"e{filters}", x
        for unit in range(1, (encoder_units or units) + 1):
            name = f"{block}_{unit}"
            x = conv(filters, 3, f"{name}_conv")(layers.ReLU(name=f"{name}_relu_1")(x))
            x = layers.ReLU(name=f"{name}_relu_2")(norm(f"{name}_norm_1")(x))
            x = layers.SeparableConv2D(filters, 3, padding="same", name=f"{name}_sepconv")(x)
            x = norm(f"{name}_norm_2")(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same", name=f"{block}_pool")(x)
        if encoder_shortcuts:
            shortcut = conv(filters, 1, f"{block}_shortcut", strides=2)(entry)
            x = layers.Add(name=f"{block}_add")([x, shortcut])
        skips.append(x)

    previous = skips.pop()
    for filters, units in DECODER:
        block, skip = f"d{filters}", skips.pop()
        for unit in range(1, (decoder_units or units) + 1):
            name = f"{block}_{unit}"
            x = layers.ReLU(name=f"{name}_relu")(x)
            x = layers.Conv2DTranspose(filters, 3, padding="same", name=f"{name}_deconv")(x)
            x = norm(f"{name}_norm")(x)
        x = layers.UpSampling2D(2, name=f"{block}_up")(x)
        if not residual_attention:
            continue
        # Residual attention connection: what the previous block and the encoder agree on is added.
        p = layers.UpSampling2D(2, name=f"{block}_previous_up")(previous)
        p = conv(filters, 1, f"{block}_previous")(p)
        s = conv(filters, 1, f"{block}_skip")(skip)
        r = layers.ReLU(name=f"{block}_attention_relu")(layers.Add(name=f"{block}_attention_add")([p, s]))
        r = norm(f"{block}_attention_norm")(conv(filters, 1, f"{block}_attention")(r))
        previous = x = layers.Add(name=f"{block}_add")([x, r])

    return keras.Model(image, probability(x), name="raxnet")
