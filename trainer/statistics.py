"""Batch normalization's statistics of given weights, computed from training slices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras


def renew_statistics(model: keras.Model, batches: Iterable[Any]) -> None:
    """Computes batch normalization's statistics anew: their mean over some batches, the weights held fixed.

    The running averages of training belong to weights that have changed since, and from small batches they
    are noisy ("precise" statistics: Wu and Johnson, Rethinking "Batch" in BatchNorm, 2021, arXiv 2105.07576).

    Args:
        model: Any network; only its BatchNormalization layers' averages change.
        batches: (image, mask) of training slices.
    """
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for number, (image, _) in enumerate(batches):
        for layer in layers:
            layer.momentum = number / (number + 1)  # the running average becomes the mean over all batches
        model(image, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
