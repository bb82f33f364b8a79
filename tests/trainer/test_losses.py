"""Losses on values computed by hand.

Formulas: docs/spec/method.md#losses-and-slice-metrics, and the networks' own sections
(docs/spec/comparison_networks.md#d-unet, docs/spec/comparison_networks.md#clci-net,
docs/spec/comparison_networks.md#x-net).
"""

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


def test_dice_by_hand():
    assert float(losses.dice(TRUTH, GUESS)) == pytest.approx(1 - (2 * 1.3 + 1) / (2 + 1.5 + 1), abs=1e-6)


def test_squared_dice_by_hand():
    squares = 0.81 + 0.16 + 0.04
    assert float(losses.squared_dice(TRUTH, GUESS)) == pytest.approx(1 - 3.6 / (2 + squares + 1), abs=1e-6)


def test_cross_entropy_dice_by_hand():
    entropy = -(math.log(0.9) + math.log(0.4) + math.log(0.8)) / 4
    expected = entropy + 1 - 2 * 1.3 / (2 + 1.5)
    assert float(losses.cross_entropy_dice(TRUTH, GUESS)) == pytest.approx(expected, abs=1e-6)


def test_enhanced_mixing_by_hand():
    focal = -0.48 * (0.1**1.1 * math.log(0.9) + 0.6**1.1 * math.log(0.4)) - 0.52 * 0.2**1.1 * math.log(0.8)
    expected = focal / 4 - math.log(3.6 / (2 + 1.01 + 1))
    assert float(losses.enhanced_mixing(TRUTH, GUESS)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("inside", "outside", "expected", "digits"),
    [(1e-4, 1e-4, 6.349, 5e-4), (0.5, 0.5, 1.435, 5e-4), (0.9, 0.01, 0.0065, 5e-5)],
)
def test_enhanced_mixing_on_a_square(inside, outside, expected, digits):
    """Values measured with the authors' formula: a lesion of 20 x 20 in 64 x 64 pixels."""
    truth = np.zeros((1, 64, 64, 1), np.float32)
    truth[:, 20:40, 20:40] = 1
    guess = np.where(truth > 0, inside, outside).astype(np.float32)
    assert float(losses.enhanced_mixing(truth, guess)) == pytest.approx(expected, abs=digits)


def test_sums_run_over_the_whole_batch():
    """A batch is one large image: two slices' losses are not averaged."""
    truth, guess = (np.concatenate([a, a[:, ::-1]]) for a in (TRUTH, GUESS))
    for name in ("dice", "tversky", "squared_dice"):
        loss = losses.get(name)
        assert float(loss(truth, guess)) == pytest.approx(
            float(loss(truth.reshape(1, -1), guess.reshape(1, -1)))
        )
    assert float(losses.dice(truth, guess)) == pytest.approx(1 - (2 * 2.6 + 1) / (4 + 3 + 1), abs=1e-6)


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


def gradient(name, truth, guess):
    guess = tf.constant(guess)
    with tf.GradientTape() as tape:
        tape.watch(guess)
        loss = losses.get(name)(truth, guess)
    return float(loss), tape.gradient(loss, guess).numpy()


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
@pytest.mark.parametrize("lesion", [0.0, 1.0])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_finite_with_and_without_lesion_at_every_probability(name, lesion, value):
    truth, guess = np.zeros((2, 4, 4, 1), np.float32), np.full((2, 4, 4, 1), value, np.float32)
    truth[0, 1:3] = lesion
    loss, slope = gradient(name, truth, guess)
    assert np.isfinite(loss)
    assert loss >= 0
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_nothing_is_lost_on_a_perfect_answer(name):
    assert float(losses.get(name)(TRUTH, TRUTH)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_an_empty_batch_is_no_worse_where_less_is_said(name):
    empty = np.zeros((2, 4, 4, 1), np.float32)
    few, many = (float(losses.get(name)(empty, np.full_like(empty, p))) for p in (0.01, 0.6))
    assert few <= many


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
@pytest.mark.parametrize("seed", range(3))
def test_gradient_raises_lesions_and_lowers_the_rest(name, seed):
    rng = np.random.default_rng(seed)
    truth = (rng.random((2, 6, 6, 1)) < 0.3).astype(np.float32)
    guess = rng.uniform(0.02, 0.98, truth.shape).astype(np.float32)
    _, slope = gradient(name, truth, guess)
    assert (slope[truth > 0] < 0).all()
    assert (slope[truth == 0] > 0).all()


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_gradient_is_the_difference_quotient(name):
    """Numerically, pixel by pixel; a wrong sign in a formula and its derivative would agree in autodiff."""
    truth, guess = TRUTH, GUESS.clip(0.1, 0.9)
    _, slope = gradient(name, truth, guess)
    for pixel in range(4):
        step = np.zeros_like(guess)
        step[0, pixel] = 1e-2
        above, below = (float(losses.get(name)(truth, guess + sign * step)) for sign in (1, -1))
        assert (above - below) / 2e-2 == pytest.approx(slope[0, pixel], rel=0.05, abs=2e-3)
        assert (above < below) == bool(truth[0, pixel])


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
    with pytest.raises(ValueError, match=r"'dise' is not among cross_entropy_dice, dice, enhanced_mixing"):
        losses.get("dise")
