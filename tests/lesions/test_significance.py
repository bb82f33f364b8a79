import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lesions.significance import compare, holm, wilcoxon


def exact_p(differences):
    """Two-sided p by all sign patterns."""
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    total = ranks.sum()
    statistic = min(ranks[differences > 0].sum(), ranks[differences < 0].sum())
    sums = [sum(r for r, s in zip(ranks, signs, strict=True) if s)
            for signs in itertools.product((0, 1), repeat=len(ranks))]  # fmt: skip
    return np.mean([min(s, total - s) <= statistic for s in sums])


@given(st.lists(st.integers(-50, 50).filter(bool), min_size=2, max_size=8, unique_by=abs))
def test_wilcoxon_is_the_share_of_sign_patterns(differences):
    assert wilcoxon(np.array(differences, float)) == pytest.approx(exact_p(np.array(differences)))


def test_wilcoxon_without_a_difference():
    assert wilcoxon(np.zeros(10)) == 1
    assert np.isnan(wilcoxon(np.array([0.3])))
    assert wilcoxon(np.array([0.0, 0.0, 1.0, 2.0, 3.0])) == wilcoxon(np.array([1.0, 2.0, 3.0])) == 0.25


def test_holm_by_hand():
    """Holm 1979: the smallest times m, the next times m - 1, never falling, at most 1."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.5, np.nan, 0.9])).tolist() == pytest.approx([1.0, np.nan, 1.0], nan_ok=True)
    assert holm(np.array([])).tolist() == []


@given(hnp.arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1)))
def test_holm_is_between_no_correction_and_bonferroni(p):
    corrected = holm(p)
    assert (corrected >= p).all()
    assert (corrected <= np.minimum(1, p * len(p)) + 1e-12).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()


def rows(**methods):
    return pd.concat(
        [pd.DataFrame({"subject": list(values), "prediction": name, "dice": list(values.values())})
         for name, values in methods.items()]
    )  # fmt: skip


def numbered(values):
    return {f"sub-{k:02d}": value for k, value in enumerate(values)}


BASE = np.linspace(0.2, 0.8, 30)
NOISE = np.random.default_rng(0).normal(0, 0.05, 30)


def test_a_real_difference_is_found_and_said():
    made = compare(rows(fused=numbered(BASE + 0.1 + NOISE), axial=numbered(BASE)), "dice").iloc[0]
    assert made[["first", "second", "score", "n", "left_out"]].tolist() == ["fused", "axial", "dice", 30, 0]
    assert made["difference"] == pytest.approx(0.1 + NOISE.mean())
    assert made["ci_low"] < made["difference"] < made["ci_high"]
    assert made["ci_low"] > 0
    assert made["p"] == made["p_holm"] < 0.001
    assert made["sentence"] == (
        f"Over 30 subjects, mean dice of fused is {made['difference']:.3f} higher than of axial (95 % interval "
        f"{made['ci_low']:+.3f} to {made['ci_high']:+.3f}; Wilcoxon, Holm-corrected p < 0.001: significant at 0.05)."
    )


def test_the_sentence_goes_by_the_corrected_p():
    """Six subjects, all better: p = 2 / 64 alone, twice that among two tests."""
    base, steps = np.full(6, 0.5), np.arange(1, 7) / 100
    frame = rows(a=numbered(base + steps), b=numbered(base), c=numbered(base + steps * [1, -1, 1, -1, 1, -1]))
    made = compare(frame, "dice", against="b").iloc[0]
    assert (made["p"], made["p_holm"]) == (2 / 64, 4 / 64)
    assert "not significant" in made["sentence"]


def test_noise_is_not_called_a_difference():
    made = compare(rows(a=numbered(BASE + NOISE), b=numbered(BASE)), "dice").iloc[0]
    assert made["p"] > 0.05
    assert "not significant at 0.05" in made["sentence"]
    same = compare(rows(a=numbered(BASE), b=numbered(BASE)), "dice").iloc[0]
    assert same["p"] == 1
    assert "mean dice of a and of b are the same" in same["sentence"]


def test_all_pairs_or_against_one():
    frame = rows(a=numbered(BASE), b=numbered(BASE + 0.01), c=numbered(BASE + NOISE))
    every = compare(frame, "dice")
    assert list(zip(every["first"], every["second"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert every["p_holm"].tolist() == holm(every["p"].to_numpy()).tolist()
    one = compare(frame, "dice", against="c")
    assert list(zip(one["first"], one["second"], strict=True)) == [("a", "c"), ("b", "c")]
    with pytest.raises(ValueError, match="prediction 'd' is not there; found a, b, c"):
        compare(frame, "dice", against="d")


def test_pairs_are_by_subject_whatever_their_order():
    frame = rows(a=numbered(BASE + NOISE), b=numbered(BASE))
    mixed = frame.sample(frac=1, random_state=1).sort_values("prediction", kind="stable")
    first, second = compare(frame, "dice").iloc[0], compare(mixed, "dice").iloc[0]
    assert first["p"] == pytest.approx(second["p"])
    assert first["difference"] == pytest.approx(second["difference"])


def test_unpaired_subjects_are_left_out_and_counted():
    a = numbered(BASE) | {"only-a": 0.9, "nan": np.nan}
    made = compare(rows(a=a, b=numbered(BASE + 0.1) | {"only-b": 0.1, "nan": 0.5}), "dice").iloc[0]
    assert (made["n"], made["left_out"]) == (30, 3)


def test_too_few_is_said():
    made = compare(rows(a={"x": 0.1}, b={"x": 0.2}), "dice").iloc[0]
    assert made["sentence"] == "a against b: 1 subject with both, too few to test."


def test_a_subject_twice_is_refused():
    frame = rows(a=numbered(BASE), b=numbered(BASE))
    with pytest.raises(ValueError, match="a subject is there twice under one prediction"):
        compare(pd.concat([frame, frame]), "dice")
