"""Batch normalization's statistics of given weights, computed from training slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
    for number, (image, _) in enumerate(batches):
        with weighing(model, share(number)):
            model(image, training=True)


def share(number: int) -> float:
    """What the batches so far, counted from 0, weigh in the mean over all and the next one."""
    return number / (number + 1)


@contextmanager
def weighing(model: keras.Model, momentum: Any) -> Iterator[None]:
    """While the running averages weigh `momentum`."""
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = momentum
    yield
    for layer, own in zip(layers, momenta, strict=True):
        layer.momentum = own
