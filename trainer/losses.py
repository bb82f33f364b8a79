"""Losses for masks in which the lesion is a small part (raxnet.md, 7); sums run over the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

SMOOTHING = 1.0
Tensor = Any
Loss = Callable[[Tensor, Tensor], Tensor]


def tversky(truth: Tensor, probability: Tensor) -> Tensor:
    """1 - (TP + 1) / (TP + 0.3 FP + 0.7 FN + 1) with soft counts: misses cost more than false alarms."""
    truth, probability = ops.cast(truth, "float32"), ops.cast(probability, "float32")
    tp = ops.sum(truth * probability)
    fp = ops.sum(probability) - tp
    fn = ops.sum(truth) - tp
    return 1.0 - (tp + SMOOTHING) / (tp + 0.3 * fp + 0.7 * fn + SMOOTHING)


def focal(truth: Tensor, probability: Tensor) -> Tensor:
    """Focal cross-entropy, alpha 0.80 for lesion and 0.20 for the rest, gamma 2, mean over pixels."""
    truth, probability = ops.cast(truth, "float32"), ops.cast(probability, "float32")
    epsilon = keras.config.epsilon()
    p = ops.clip(probability, epsilon, 1.0 - epsilon)
    of_class = truth * p + (1.0 - truth) * (1.0 - p)
    alpha = 0.80 * truth + 0.20 * (1.0 - truth)
    return ops.mean(-alpha * (1.0 - of_class) ** 2 * ops.log(of_class))


def focal_tversky(truth: Tensor, probability: Tensor) -> Tensor:
    """Tversky loss + focal loss; the method's own, not the (1 - TI)^gamma of the literature."""
    return tversky(truth, probability) + focal(truth, probability)


LOSSES: dict[str, Loss] = {"focal_tversky": focal_tversky, "tversky": tversky, "focal": focal}


def get(name: str) -> Loss:
    """A loss by name.

    Raises:
        ValueError: No such loss; says which there are.
    """
    if name not in LOSSES:
        raise ValueError(f"loss: {name!r} is not among {sorted(LOSSES)}")
    return LOSSES[name]
