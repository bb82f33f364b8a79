"""What a network costs: multiply-adds of its convolutions, dense layers and products of matrices."""

from __future__ import annotations

import math

import keras


def macs(model: keras.Model) -> int:
    """Multiply-adds of one forward pass over one slice; 2 of them are the usual two FLOPs.

    Every weight of a kernel is used once per position of a layer's output (transposed convolutions have stride 1
    here), and once per step of a ConvLSTM. Biases, batch normalization, activations and pooling are left out.
    """
    return sum(_layer(layer) for layer in model.layers)


def _layer(layer: keras.layers.Layer) -> int:
    if hasattr(layer, "macs"):
        return int(layer.macs())
    kernels = sum(math.prod(weight.shape) for weight in layer.weights if len(weight.shape) > 1)
    if not kernels:
        return 0
    steps = layer.input.shape[1] if isinstance(layer, keras.layers.ConvLSTM2D) else 1
    return kernels * steps * math.prod(layer.output.shape[1:-1])
