"""Optimizers and learning rate schedules by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from trainer.settings import TrainingSettings

PLATEAU_GAIN = (
    1e-3  # a smaller fall of the validation loss is none (X-Net's: docs/spec/comparison_networks.md#x-net)
)


def optimizer(settings: TrainingSettings) -> keras.optimizers.Optimizer:
    """The optimizer with its schedule, not yet built."""
    rate = schedule(settings)
    decay = settings.weight_decay
    if settings.optimizer == "sgd":
        moving = settings.momentum > 0
        return keras.optimizers.SGD(rate, settings.momentum, nesterov=moving, weight_decay=decay or None)
    if settings.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    return keras.optimizers.AdamW(rate, weight_decay=decay)


def schedule(settings: TrainingSettings) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate by step; a number where it does not follow from the step alone."""
    first, factor, steps = settings.learning_rate, settings.decay_rate, settings.decay_steps
    if settings.schedule == "exponential":
        return keras.optimizers.schedules.ExponentialDecay(first, steps, factor)
    if settings.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(first, steps, alpha=factor)
    return first


def rate_after(settings: TrainingSettings, history: Sequence[Mapping[str, Any]]) -> float | None:
    """The learning rate of the next epoch, of the epochs so far: so a resumed training has the same.

    Args:
        settings: Of the training.
        history: A row per epoch, with val_loss.

    Returns:
        None where the rate follows from the step.
    """
    if settings.schedule != "plateau":
        return None
    rate, best, waited = settings.learning_rate, float("inf"), 0
    for row in history:
        if row["val_loss"] < best - PLATEAU_GAIN:
            best, waited = row["val_loss"], 0
        elif waited + 1 < settings.plateau_epochs:
            waited += 1
        else:
            rate, waited = rate * settings.decay_rate, 0
    return rate
