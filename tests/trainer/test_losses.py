"""Losses on values computed by hand (raxnet.md, 7)."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import losses
from trainer.scores import PooledScore

TRUTH = np.array([[1.0, 1.0, 0.0, 0.0]], np.float32)
GUESS = np.array([[0.9, 0.4, 0.2, 0.0]], np.float32)
TP, FP, FN = 1.3, 0.2, 0.7


def test_tversky_by_hand():
    expected = 1 - (TP + 1) / (TP + 0.3 * FP + 0.7 * FN + 1)
    assert float(losses.tversky(TRUTH, GUESS)) == pytest.approx(expected, abs=1e-6)


def test_tversky_punishes_misses_more_than_false_alarms():
    missed = float(losses.tversky(np.array([1.0, 1.0]), np.array([1.0, 0.0])))
    false_alarm = float(losses.tversky(np.array([1.0, 0.0]), np.array([1.0, 1.0])))
    assert missed > false_alarm


def test_focal_by_hand():
    terms = [0.8 * 0.1**2 * -math.log(0.9), 0.8 * 0.6**2 * -math.log(0.4), 0.2 * 0.2**2 * -math.log(0.8), 0.0]
    assert float(losses.focal(TRUTH, GUESS)) == pytest.approx(sum(terms) / 4, abs=1e-6)


def test_focal_is_keras_own():
    theirs = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.8, gamma=2.0)
    rng = np.random.default_rng(0)
    truth, guess = (
        (rng.random((3, 8, 8, 1)) < 0.3).astype("float32"),
        rng.random((3, 8, 8, 1)).astype("float32"),
    )
    assert float(losses.focal(truth, guess)) == pytest.approx(float(theirs(truth, guess)), rel=1e-5)


def test_focal_tversky_is_their_sum():
    together = float(losses.focal(TRUTH, GUESS)) + float(losses.tversky(TRUTH, GUESS))
    assert float(losses.focal_tversky(TRUTH, GUESS)) == pytest.approx(together, rel=1e-6)


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_finite_on_a_batch_without_lesion(name, value):
    assert np.isfinite(float(losses.get(name)(np.zeros((2, 4, 4, 1)), np.full((2, 4, 4, 1), value))))


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_gradient_raises_lesions_and_lowers_the_rest(name):
    guess = tf.constant(GUESS.clip(0.1, 0.9))
    with tf.GradientTape() as tape:
        tape.watch(guess)
        loss = losses.get(name)(TRUTH, guess)
    slope = tape.gradient(loss, guess).numpy()[0]
    assert (slope[:2] < 0).all()
    assert (slope[2:] > 0).all()


def test_pooled_scores_count_over_batches_and_start_anew():
    batches = [
        (np.array([1.0, 1.0, 0.0]), np.array([0.9, 0.5, 0.8])),
        (np.array([1.0, 0.0]), np.array([0.6, 0.2])),
    ]
    expected = {"dice": (2 * 2 + 1) / (3 + 3 + 1), "recall": 3 / 4, "precision": 3 / 4}  # tp 2, fp 1, fn 1
    for kind, value in expected.items():
        metric = PooledScore(kind)
        for _ in range(2):
            metric.reset_state()
            for truth, guess in batches:
                metric.update_state(truth, guess)
            assert float(metric.result()) == pytest.approx(value)


def test_an_unknown_loss_is_named():
    with pytest.raises(ValueError, match="dise"):
        losses.get("dise")
