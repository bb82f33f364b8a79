"""Whether one prediction is better than another on the same subjects: a paired test and a sentence that says so."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from lesions.bootstrap import RESAMPLES, mean_interval

ALPHA = 0.05


def compare(
    rows: pd.DataFrame,
    score: str,
    method: str = "prediction",
    against: str | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Compares methods pair by pair on the subjects that both have: Wilcoxon's signed-rank test, two-sided.

    Args:
        rows: A row per subject and method: subject, `method`, `score`. Slices are to be averaged per subject first.
        score: The column that is compared.
        method: The column that names what is compared.
        against: Compare only with this one; None compares all pairs.
        seed: Of the bootstrap.
        resamples: Of the bootstrap.

    Returns:
        A row per pair: first, second, score, n (subjects with both), left_out (with one only), first_mean,
        second_mean, difference (mean of first - second), ci_low, ci_high (95 % percentile bootstrap over subjects),
        p, p_holm (Holm's correction over the rows of this table), sentence. p is NaN where n < 2.

    Raises:
        ValueError: A subject twice under one method, or `against` is not there.
    """
    if rows.duplicated(["subject", method]).any():
        raise ValueError(f"a subject is there twice under one {method}; average its rows first")
    wide = rows.pivot(index="subject", columns=method, values=score)  # noqa: PD010 - each cell has one row
    names = list(dict.fromkeys(rows[method]))
    if against is not None and against not in names:
        raise ValueError(f"{method} {against!r} is not there; found {', '.join(map(str, names))}")
    pairs: Sequence[tuple[Any, Any]] = list(combinations(names, 2))
    if against is not None:
        pairs = [(name, against) for name in names if name != against]
    made = [_pair(wide, first, second, seed, resamples) for first, second in pairs]
    columns = [
        "first",
        "second",
        "n",
        "left_out",
        "first_mean",
        "second_mean",
        "difference",
        "ci_low",
        "ci_high",
        "p",
    ]
    frame = pd.DataFrame(made, columns=columns)
    frame.insert(2, "score", score)
    frame["p_holm"] = holm(frame["p"].to_numpy(dtype=np.float64))
    frame["sentence"] = [sentence(row) for row in frame.to_dict("records")]
    return frame


def _pair(wide: pd.DataFrame, first: Any, second: Any, seed: int, resamples: int) -> dict[str, Any]:
    both = wide[[first, second]].dropna()
    difference = both[first].to_numpy(dtype=np.float64) - both[second].to_numpy(dtype=np.float64)
    low, high = mean_interval(difference, None, seed, resamples)
    one_only = wide[[first, second]].notna().any(axis=1).sum() - len(both)
    return {
        "first": first,
        "second": second,
        "n": len(both),
        "left_out": int(one_only),
        "first_mean": both[first].mean(),
        "second_mean": both[second].mean(),
        "difference": difference.mean() if len(both) else np.nan,
        "ci_low": low,
        "ci_high": high,
        "p": wilcoxon(difference),
    }


def wilcoxon(differences: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; zeros are dropped, as he did.

    1 where all differences are 0; NaN where there are fewer than two.
    """
    differences = np.asarray(differences, dtype=np.float64)
    if len(differences) < 2:
        return float("nan")
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences[differences != 0]).pvalue)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down correction of several p values (Holm 1979); NaN is no test and stays NaN.

    Args:
        p: (m,) in 0 to 1.

    Returns:
        (m,) corrected: below alpha where the family-wise error stays below alpha.
    """
    p = np.asarray(p, dtype=np.float64)
    corrected = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return corrected


def sentence(row: dict[str, Any], alpha: float = ALPHA) -> str:
    """What a row of `compare` says, in plain words; never that two methods are equal."""
    first, second, score, n = row["first"], row["second"], row["score"], row["n"]
    if np.isnan(row["p_holm"]):
        return f"{first} against {second}: {n} subject{'s' * (n != 1)} with both, too few to test."
    higher = row["difference"] > 0
    size = (
        f"mean {score} of {first} is {abs(row['difference']):.3f} {'higher' if higher else 'lower'} than of {second}"
        if row["difference"] != 0
        else f"mean {score} of {first} and of {second} are the same"
    )
    interval = f"95 % interval {row['ci_low']:+.3f} to {row['ci_high']:+.3f}"
    p = "p < 0.001" if row["p_holm"] < 0.001 else f"p = {row['p_holm']:.3f}"
    verdict = "significant" if row["p_holm"] < alpha else "not significant"
    return f"Over {n} subjects, {size} ({interval}; Wilcoxon, Holm-corrected {p}: {verdict} at {alpha:g})."
