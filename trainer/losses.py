"""Losses for masks in which the lesion is a small part; sums run over the whole batch.

Formulas: docs/spec/method.md#losses-and-slice-metrics.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

SMOOTHING = 1.0
EPSILON = 1e-7  # where a logarithm or a quotient would have none
Tensor = Any
Loss = Callable[..., Tensor]


class Over(NamedTuple):
    """What adds up and averages over a whole batch, wherever its parts are (`trainer.replicas`)."""

    sum: Callable[[Tensor], Tensor]
    mean: Callable[[Tensor], Tensor]


BATCH = Over(ops.sum, ops.mean)


def dice(truth: Tensor, probability: Tensor, over: Over = BATCH) -> Tensor:
    """1 - (2 TP + 1) / (sum g + sum p + 1) with soft counts."""
    truth, probability = ops.cast(truth, "float32"), ops.cast(probability, "float32")
    both = over.sum(truth * probability)
    return 1.0 - (2.0 * both + SMOOTHING) / (over.sum(truth) + over.sum(probability) + SMOOTHING)


def squared_dice(truth: Tensor, probability: Tensor, over: Over = BATCH) -> Tensor:
    """CLCI-Net's: as `dice`, with the sums of squares below the line (docs/spec/comparison_networks.md#clci-net)."""
    truth, probability = ops.cast(truth, "float32"), ops.cast(probability, "float32")
    both = over.sum(truth * probability)
    return 1.0 - (2.0 * both + SMOOTHING) / (over.sum(truth**2) + over.sum(probability**2) + SMOOTHING)


def tversky(truth: Tensor, probability: Tensor, over: Over = BATCH) -> Tensor:
    """1 - (TP + 1) / (TP + 0.3 FP + 0.7 FN + 1) with soft counts: misses cost more than false alarms."""
    truth, probability = ops.cast(truth, "float32"), ops.cast(probability, "float32")
    tp = over.sum(truth * probability)
    fp = over.sum(probability) - tp
    fn = over.sum(truth) - tp
    return 1.0 - (tp + SMOOTHING) / (tp + 0.3 * fp + 0.7 * fn + SMOOTHING)


def focal(truth: Tensor, probability: Tensor, over: Over = BATCH) -> Tensor:
    """Focal cross-entropy, alpha 0.80 for lesion and 0.20 for the rest, gamma 2, mean over pixels."""
    return _cross_entropy(truth, probability, over, weights=(0.80, 0.20), gamma=2.0)


def _cross_entropy(
    truth: Tensor, probability: Tensor, over: Over, weights: tuple[float, float], gamma: float
) -> Tensor:
    """Mean over pixels of -weight (1 - q)^gamma ln q, q the true class's probability; weights (lesion, rest)."""
    truth, probability = ops.cast(truth, "float32"), ops.cast(probability, "float32")
    p = ops.clip(probability, EPSILON, 1.0 - EPSILON)
    of_class = truth * p + (1.0 - truth) * (1.0 - p)
    weight = weights[0] * truth + weights[1] * (1.0 - truth)
    return over.mean(-weight * (1.0 - of_class) ** gamma * ops.log(of_class))


def focal_tversky(truth: Tensor, probability: Tensor, over: Over = BATCH) -> Tensor:
    """Tversky loss + focal loss; the method's own, not the (1 - TI)^gamma of the literature."""
    return tversky(truth, probability, over) + focal(truth, probability, over)


def enhanced_mixing(truth: Tensor, probability: Tensor, over: Over = BATCH) -> Tensor:
    """D-UNet's: focal loss (alpha 0.48, gamma 1.1) - ln of squared Dice (docs/spec/comparison_networks.md#d-unet)."""
    entropy = _cross_entropy(truth, probability, over, weights=(0.48, 0.52), gamma=1.1)
    return entropy - ops.log(1.0 - squared_dice(truth, probability, over))


def cross_entropy_dice(truth: Tensor, probability: Tensor, over: Over = BATCH) -> Tensor:
    """X-Net's: mean cross-entropy + 1 - Dice without smoothing (docs/spec/comparison_networks.md#x-net).

    0 / 0 is taken as 0.
    """
    truth, probability = ops.cast(truth, "float32"), ops.cast(probability, "float32")
    total = ops.maximum(over.sum(truth) + over.sum(probability), EPSILON)
    plain_dice = 2.0 * over.sum(truth * probability) / total
    return _cross_entropy(truth, probability, over, weights=(1.0, 1.0), gamma=0.0) + 1.0 - plain_dice


LOSSES: dict[str, Loss] = {
    function.__name__: function
    for function in (
        focal_tversky,
        tversky,
        focal,
        dice,
        squared_dice,
        enhanced_mixing,
        cross_entropy_dice,
    )
}


def get(name: str, over: Over = BATCH) -> Loss:
    """A loss by name.

    Args:
        name: Of the loss.
        over: What adds up over the batch; another than `BATCH` is for several devices.

    Raises:
        ValueError: No such loss; says which there are.
    """
    if name not in LOSSES:
        raise ValueError(f"loss: {name!r} is not among {', '.join(sorted(LOSSES))}")
    return (
        LOSSES[name]
        if over is BATCH
        else functools.wraps(LOSSES[name])(functools.partial(LOSSES[name], over=over))
    )
