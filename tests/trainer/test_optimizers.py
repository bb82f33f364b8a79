"""Learning rates by hand, and what the optimizers do to one weight."""

import math

import keras
import numpy as np
import pytest

from trainer.optimizers import optimizer, rate_after, schedule
from trainer.settings import TrainingSettings


def rate(step, **changes):
    made = schedule(TrainingSettings(**changes))
    return float(made(step)) if callable(made) else made


@pytest.mark.parametrize("step", [0, 50, 100, 1000])
def test_schedules_by_hand(step):
    settings = {"learning_rate": 0.1, "decay_rate": 0.5, "decay_steps": 100}
    assert rate(step, **settings) == pytest.approx(0.1 * 0.5 ** (step / 100))
    assert rate(step, schedule="constant", **settings) == 0.1
    wave = (1 + math.cos(math.pi * min(step, 100) / 100)) / 2
    assert rate(step, schedule="cosine", **settings) == pytest.approx(0.1 * (0.5 + 0.5 * wave))


def test_a_plateau_lowers_the_rate_and_a_gain_starts_the_wait_anew():
    settings = TrainingSettings(schedule="plateau", learning_rate=1.0, decay_rate=0.2, plateau_epochs=3)
    losses = [0.9, 0.8, 0.7995, 0.7994, 0.7993, 0.7992, 0.7991, 0.5, 0.5, 0.5, 0.5]
    history = [{"val_loss": loss} for loss in losses]
    # Falls of less than 0.001 are none: epochs 3 to 5 wait in vain, so epoch 6 is the first with less.
    rates = [rate_after(settings, history[:n]) for n in range(len(history) + 1)]
    assert rates == pytest.approx([1, 1, 1, 1, 1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.04])
    assert rate_after(TrainingSettings(), history) is None


def test_the_plateau_is_keras_own():
    callback = keras.callbacks.ReduceLROnPlateau(factor=0.2, patience=3, min_delta=1e-3, min_lr=0.0)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(1.0), "mse")
    callback.set_model(model)
    callback.on_train_begin()
    settings = TrainingSettings(schedule="plateau", learning_rate=1.0, decay_rate=0.2)
    rng, history = np.random.default_rng(0), []
    for epoch in range(40):
        history.append({"val_loss": float(rng.uniform(0.5, 0.52))})
        callback.on_epoch_end(epoch, history[-1])
        assert rate_after(settings, history) == pytest.approx(float(model.optimizer.learning_rate), rel=1e-5)


def step(**changes):
    """What one step makes of the weight 1.0 under the gradient 0.5, learning rate 0.1."""
    weight = keras.Variable(1.0)
    made = optimizer(TrainingSettings(learning_rate=0.1, schedule="constant", **changes))
    made.build([weight])
    made.apply([np.float32(0.5)], [weight])
    return float(weight)


def test_what_a_first_step_does():
    assert step(optimizer="sgd", weight_decay=0.0) == pytest.approx(0.95)
    assert step(optimizer="sgd", weight_decay=0.1) == pytest.approx(0.94)
    assert step(optimizer="sgd", weight_decay=0.0, momentum=0.9) == pytest.approx(1 - 0.1 * 0.5 * 1.9)
    assert step(optimizer="adam", weight_decay=0.0) == pytest.approx(0.9, abs=1e-5)
    assert step(optimizer="adamw", weight_decay=0.1) == pytest.approx(0.89, abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optimizer": "lion"}, "optimizer must be one of adamw, adam, sgd, found 'lion'"),
        (
            {"schedule": "step"},
            "schedule must be one of exponential, constant, cosine, plateau, found 'step'",
        ),
        ({"optimizer": "adam"}, r"weight_decay must be 0 under adam \(adamw has one\), found 0.004"),
        ({"momentum": 0.9}, "momentum must be 0 unless optimizer is sgd, found 0.9"),
        ({"replicas": 2, "jit_compile": True}, "replicas must be 1 where jit_compile is true, found 2"),
    ],
)
def test_what_does_not_go_together_is_told(changes, said):
    with pytest.raises(ValueError, match=said):
        TrainingSettings(**changes)
