import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lesions import metrics

shape = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))
pair = shape.flatmap(
    lambda s: st.tuples(hnp.arrays(np.uint8, s, elements=st.integers(0, 1)), hnp.arrays(bool, s))
)


def loop(truth, prediction):
    """Counts of one slice, voxel by voxel."""
    tp = fp = fn = 0
    for g, p in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        tp, fp, fn = tp + bool(g and p), fp + bool(p and not g), fn + bool(g and not p)
    return tp, fp, fn


@given(pair)
def test_counts_are_those_of_a_loop(masks):
    truth, prediction = masks
    counts = metrics.confusion(truth, prediction, axes=(1, 2))
    assert list(zip(*(c.tolist() for c in counts), strict=True)) == [
        loop(g, p) for g, p in zip(truth, prediction, strict=True)
    ]
    assert tuple(int(c) for c in metrics.confusion(truth, prediction)) == loop(truth, prediction)
    assert all(c.dtype == np.int64 for c in counts)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_formulas(tp, fp, fn):
    """sum g = TP + FN, sum p = TP + FP (docs/spec/method.md#losses-and-slice-metrics)."""
    g, p = tp + fn, tp + fp
    assert metrics.dice(tp, fp, fn) == pytest.approx((2 * tp + 1) / (g + p + 1))
    assert metrics.recall(tp, fp, fn) == pytest.approx((tp + 1) / (g + 1))
    assert metrics.precision(tp, fp, fn) == pytest.approx((tp + 1) / (p + 1))
    assert metrics.volume_difference(tp, fp, fn) == abs(g - p)
    if g and p:
        assert metrics.dice(tp, fp, fn, 0) == pytest.approx(2 * tp / (g + p))
        assert metrics.recall(tp, fp, fn, 0) == pytest.approx(tp / g)
        assert metrics.precision(tp, fp, fn, 0) == pytest.approx(tp / p)


@pytest.mark.parametrize("metric", [metrics.dice, metrics.recall, metrics.precision])
def test_empty_masks(metric):
    assert metric(0, 0, 0) == 1
    assert metric(0, 0, 0, 0) == 1
    assert metric(0, 3, 0, 0) == 0  # nothing there, something found
    assert metric(0, 0, 3, 0) == 0  # something there, nothing found


def test_missed_lesion_of_n_pixels():
    n = np.array([1, 9, 99])
    nothing = np.zeros(3, int)
    assert metrics.dice(nothing, nothing, n).tolist() == pytest.approx([1 / 2, 1 / 10, 1 / 100])
    assert metrics.precision(nothing, nothing, n).tolist() == [1, 1, 1]


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="one shape"):
        metrics.confusion(np.ones((2, 3)), np.ones((3, 2)))


def test_small_types_do_not_overflow():
    counts = np.array([2 * 10**9], np.int32)
    assert metrics.dice(counts, counts, counts, 0)[0] == pytest.approx(0.5)


def test_summary():
    assert metrics.summarize([1, 2, 3, 4, math.nan]) == {
        "n": 4, "mean": 2.5, "sd": pytest.approx(math.sqrt(1.25)), "median": 2.5, "q1": 1.75, "q3": 3.25
    }  # fmt: skip


def test_summary_of_nothing():
    empty = metrics.summarize([])
    assert empty.pop("n") == 0
    assert all(math.isnan(value) for value in empty.values())
