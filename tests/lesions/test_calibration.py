import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lesions.calibration import (
    add_up,
    calibration_error,
    counts_at,
    probability_histogram,
    reliability,
    threshold_sweep,
)

# Edges of the bins, their neighbors among the numbers, and what lies between.
special = st.sampled_from([0.0, 1.0, 0.5, 0.29, 0.57, 0.07]) | st.integers(0, 200).map(lambda k: k / 200)
number = special | special.map(lambda v: min(1.0, float(np.nextafter(v, 2)))) | st.floats(0, 1)
number |= special.map(lambda v: max(0.0, float(np.nextafter(v, -1))))
volumes = st.integers(0, 40).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.float64, n, elements=number)
        | hnp.arrays(np.float32, n, elements=st.floats(0, 1, width=32)),
        hnp.arrays(bool, n),
    )
)


@pytest.mark.heavy
@given(volumes, st.sampled_from([200, 100, 10]))
def test_counts_are_exact_at_every_edge(volume, bins):
    probability, truth = volume
    sweep = threshold_sweep(probability_histogram(probability, truth, bins))
    assert len(sweep) == bins
    for k, row in enumerate(sweep.itertuples()):
        found = probability.astype(np.float64) >= k / bins
        assert row.threshold == k / bins
        assert (row.tp, row.fp, row.fn) == (
            (found & truth).sum(),
            (found & ~truth).sum(),
            (~found & truth).sum(),
        )


@pytest.mark.parametrize("bins", [200, 100, 10])
def test_numbers_next_to_an_edge_are_on_their_side_of_it(bins):
    """Times the bins, some numbers just below an edge round up to it, and some edges round down."""
    edges = np.arange(1, bins) / bins
    below, above = np.nextafter(edges, 0), np.nextafter(edges, 1)
    for values, expected in (
        (below, np.arange(bins - 1)),
        (edges, np.arange(1, bins)),
        (above, np.arange(1, bins)),
    ):
        histogram = probability_histogram(values, np.zeros(bins - 1), bins)
        assert histogram["voxels"].tolist() == np.bincount(expected, minlength=bins).tolist()


@pytest.mark.heavy
@given(volumes)
def test_histograms_add_up(volume):
    probability, truth = volume
    whole = probability_histogram(probability, truth)
    parts = [probability_histogram(probability[i::3], truth[i::3]).assign(subject=i) for i in range(3)]
    summed = add_up(pd.concat(parts))
    assert summed[["bin", "voxels", "lesion"]].equals(whole[["bin", "voxels", "lesion"]])
    np.testing.assert_allclose(summed["probability"], whole["probability"])
    assert whole["voxels"].sum() == len(truth)
    assert whole["lesion"].sum() == truth.sum()
    assert whole["probability"].sum() == pytest.approx(probability.sum(dtype=np.float64))


def test_a_sweep_by_hand():
    histogram = probability_histogram(np.array([0.1, 0.5, 0.9]), np.array([0, 0, 1]), 10)
    sweep = threshold_sweep(histogram)
    assert sweep["dice"].tolist() == pytest.approx([1 / 2, 1 / 2] + [2 / 3] * 4 + [1] * 4)
    assert sweep["recall"].tolist() == [1] * 10
    assert counts_at(histogram, 0.5) == {"tp": 1, "fp": 1, "fn": 0}
    assert counts_at(histogram, 0.6) == {"tp": 1, "fp": 0, "fn": 0}


@pytest.mark.parametrize("threshold", [0.503, -0.1, 1.0, 2.0])
def test_only_edges_can_be_asked_for(threshold):
    histogram = probability_histogram(np.array([0.5]), np.array([1]))
    with pytest.raises(ValueError, match=r"is not an edge of 200 bins; the nearest is"):
        counts_at(histogram, threshold)


def test_reliability_by_hand():
    probability = np.array([0.05, 0.05, 0.15, 0.95, 0.95, 0.95, 1.0])
    truth = np.array([0, 0, 1, 1, 1, 0, 1])
    curve = reliability(probability_histogram(probability, truth))
    assert curve["voxels"].tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 4]
    assert curve["frequency"][0] == 0
    assert curve["confidence"][0] == pytest.approx(0.05)
    assert curve["frequency"][9] == 0.75
    assert curve["confidence"][9] == pytest.approx(3.85 / 4)
    assert curve[["confidence", "frequency"]].isna().sum().tolist() == [7, 7]
    expected = (2 * 0.05 + 1 * 0.85 + 4 * (3.85 / 4 - 0.75)) / 7
    histogram = probability_histogram(probability, truth)
    assert calibration_error(histogram) == pytest.approx(expected)
    assert calibration_error(histogram, lowest=0.1) == pytest.approx((0.85 + 4 * (3.85 / 4 - 0.75)) / 5)


def test_a_calibrated_prediction_has_a_small_error_and_an_overconfident_one_has_not():
    rng = np.random.default_rng(0)
    probability = rng.random(200_000)
    truth = rng.random(200_000) < probability
    assert calibration_error(probability_histogram(probability, truth)) < 0.005
    assert calibration_error(probability_histogram(np.sqrt(probability), truth)) > 0.1


def test_nothing_to_count_is_no_figure():
    assert np.isnan(calibration_error(probability_histogram(np.zeros(0), np.zeros(0))))
    assert np.isnan(calibration_error(probability_histogram(np.zeros(5), np.zeros(5)), lowest=0.5))


@pytest.mark.parametrize(
    ("probability", "truth", "message"),
    [
        (np.zeros(3), np.zeros(4), "one shape"),
        (np.array([1.5]), np.zeros(1), "in 0 to 1, found 1.5"),
        (np.array([-0.5]), np.zeros(1), "in 0 to 1, found -0.5"),
        (np.array([np.nan]), np.zeros(1), "in 0 to 1, found nan"),
    ],
)
def test_bad_probabilities(probability, truth, message):
    with pytest.raises(ValueError, match=message):
        probability_histogram(probability, truth)


def test_the_curve_must_fit_the_histogram():
    with pytest.raises(ValueError, match="7 bins do not divide the histogram's 200"):
        reliability(probability_histogram(np.zeros(1), np.zeros(1)), 7)
