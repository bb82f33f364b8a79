import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lesions.bootstrap import mean_interval
from lesions.summaries import (
    describe,
    holdout_summary,
    pooled,
    protocols,
    summary,
    with_category,
    with_scores,
)

finite = st.floats(-1e3, 1e3)


def counts(*rows):
    frame = pd.DataFrame(rows, columns=["subject", "slice", "tp", "fp", "fn"])
    return frame.assign(lesion_voxels=frame["tp"] + frame["fn"])


SLICES = counts(("a", 0, 3, 1, 1), ("a", 1, 0, 0, 4), ("b", 0, 0, 0, 0), ("b", 1, 0, 9, 0), ("c", 5, 1, 0, 0))


@given(st.lists(finite, min_size=1, max_size=30))
def test_figures_are_those_of_the_textbook(values):
    made = describe(values, resamples=10)
    n, mean = len(values), math.fsum(values) / len(values)
    squares = math.fsum((v - mean) ** 2 for v in values)
    ordered = sorted(values)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    assert (made["n"], made["left_out"]) == (n, 0)
    assert made["mean"] == pytest.approx(mean, abs=1e-9)
    assert made["sd_population"] == pytest.approx(math.sqrt(squares / n), abs=1e-5)
    assert made["sd_sample"] == pytest.approx(
        math.sqrt(squares / (n - 1)) if n > 1 else math.nan, abs=1e-5, nan_ok=True
    )
    assert made["median"] == pytest.approx(middle, abs=1e-9)
    assert made["q1"] <= made["median"] <= made["q3"]


def test_what_has_no_value_is_counted():
    made = describe([1.0, math.nan, 3.0, math.nan, math.nan])
    assert (made["n"], made["left_out"], made["mean"]) == (2, 3, 2.0)
    nothing = describe([math.nan])
    assert (nothing.pop("n"), nothing.pop("left_out")) == (0, 1)
    assert all(math.isnan(value) for value in nothing.values())


def test_the_interval_is_scipys():
    values = np.random.default_rng(3).gamma(2.0, size=60)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20000, random_state=0)
    interval = mean_interval(values, seed=1, resamples=20000)
    assert interval == pytest.approx(tuple(expected.confidence_interval), abs=0.02)
    assert interval == mean_interval(values, seed=1, resamples=20000)
    assert interval != mean_interval(values, seed=2, resamples=20000)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        low, high = mean_interval(rng.normal(size=40), seed=seed, resamples=400)
        covered += low <= 0 <= high
    assert 0.89 <= covered / 300 <= 0.98


def test_slices_of_a_subject_stay_together():
    """Ten subjects of 50 equal slices are ten observations, not 500."""
    values = np.repeat(np.random.default_rng(0).random(10), 50)
    subjects = np.repeat(np.arange(10), 50)
    low, high = mean_interval(values, subjects)
    assert (low, high) == pytest.approx(mean_interval(values[::50]), abs=1e-12)
    naive = mean_interval(values)
    assert high - low > 4 * (naive[1] - naive[0])


def test_subjects_weigh_by_their_slices():
    """Drawn means are those of the drawn slices: means over slices, not over subjects."""
    values, subjects = np.array([1.0, 1.0, 1.0, 0.0]), np.array(["a", "a", "a", "b"])
    low, high = mean_interval(values, subjects, resamples=4000)
    assert (low, high) == (0.0, 1.0)
    inner = mean_interval(values, subjects, resamples=4000, level=0.3)
    assert inner == (0.75, 0.75)


def test_memory_of_the_bootstrap_is_bounded(monkeypatch):
    values = np.random.default_rng(0).random(50)
    whole = mean_interval(values, resamples=101)
    monkeypatch.setattr("lesions.bootstrap._AT_ONCE", 300)
    assert mean_interval(values, resamples=101) == pytest.approx(whole)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_one_subject_has_no_interval(values):
    assert all(map(math.isnan, mean_interval(np.array(values))))
    assert all(map(math.isnan, mean_interval(np.array([1.0, 2.0]), np.array(["a", "a"]))))


def test_summary_by_groups():
    rows = with_scores(SLICES).assign(plane=["axial", "axial", "coronal", "coronal", "coronal"])
    made = summary(rows, ["dice", "dice_smoothed"], ["plane"]).set_index(["plane", "score"])
    assert made.loc[("axial", "dice"), ["n", "subjects", "mean"]].tolist() == [2, 1, 0.375]
    assert made.loc[("coronal", "dice"), "mean"] == pytest.approx(2 / 3)
    assert made.loc[("axial", "dice_smoothed"), "mean"] == pytest.approx((7 / 9 + 1 / 5) / 2)
    assert list(summary(rows, ["dice"])["n"]) == [5]
    assert summary(rows.iloc[:0], ["dice"])["n"].tolist() == [0]


@pytest.mark.heavy
@settings(deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 100)] * 3), min_size=1, max_size=20))
def test_pooled_is_one_large_slice(rows):
    frame = counts(*(("s", k, *row) for k, row in enumerate(rows)))
    made = pooled(frame).iloc[0]
    tp, fp, fn = (sum(row[k] for row in rows) for k in range(3))
    assert (made["n"], made["tp"], made["fp"], made["fn"]) == (len(rows), tp, fp, fn)
    if tp + fn and tp + fp:
        assert made["dice"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
        assert made["recall"] == pytest.approx(tp / (tp + fn))
        assert made["precision"] == pytest.approx(tp / (tp + fp))


def test_pooled_of_nothing_has_no_score():
    made = pooled(SLICES.iloc[:0]).iloc[0]
    assert made["n"] == 0
    assert made[["dice", "recall", "precision"]].isna().all()


def test_categories_follow_the_true_size():
    rows = counts(("a", 0, 0, 9, 0), ("a", 1, 200, 0, 0), ("a", 2, 0, 0, 201), ("a", 3, 3001, 0, 0))
    assert with_category(rows, "axial")["size_category"].tolist() == [0, 1, 2, 6]
    assert with_category(rows, "3d")["size_category"].tolist() == [0, 1, 1, 1]


def test_protocols():
    many = counts(*(("s", k, 0, 0, int(k < 3)) for k in range(20)))
    made = protocols(many, 0)
    assert [len(made[name]) for name in ("published", "all slices", "lesion slices")] == [6, 20, 3]
    assert made["published"]["slice"].is_unique
    assert made["published"].equals(protocols(many, 0)["published"])
    assert not made["published"].equals(protocols(many, 1)["published"])


def test_holdout_summary():
    rows = pd.DataFrame(
        {"subject": ["a", "b", "a"], "prediction": ["fused", "fused", "axial"], "dice": [0.2, 0.6, 0.1],
         "recall": 0.5, "precision": 0.5, "volume_difference": [10, 20, 5]}
    )  # fmt: skip
    made = holdout_summary(rows)
    assert made["prediction"].tolist() == ["fused", "axial"]
    assert made["n"].tolist() == [2, 1]
    assert made.loc[0, ["dice", "dice_sd", "dice_median", "volume_difference"]].tolist() == pytest.approx(
        [0.4, 0.2, 0.4, 15]
    )
