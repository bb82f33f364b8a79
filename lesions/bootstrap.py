"""Percentile bootstrap of a mean, over whole subjects (Efron and Tibshirani 1993, chapters 13 and 14)."""

from __future__ import annotations

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
_AT_ONCE = 2_000_000  # drawn numbers in memory: 16 MB


def mean_interval(
    values: np.ndarray,
    clusters: np.ndarray | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Interval of the mean: the same seed gives the same interval.

    Args:
        values: (n,) without NaN.
        clusters: (n,) whose they are; whole clusters are drawn, so that values which go together stay together.
            None: each value is its own.
        seed: Of the draws.
        resamples: How often as many clusters as there are are drawn with replacement.
        level: Share of the resampled means inside.

    Returns:
        Low and high; NaN where there are fewer than two clusters: one subject says nothing about others.
    """
    code = np.arange(len(values)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    sums, counts = np.bincount(code, values), np.bincount(code)
    if len(sums) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means = []
    for start in range(0, resamples, max(1, _AT_ONCE // len(sums))):
        count = min(max(1, _AT_ONCE // len(sums)), resamples - start)
        drawn = rng.integers(0, len(sums), (count, len(sums)))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    tail = 50 * (1 - level)
    low, high = np.percentile(np.concatenate(means), [tail, 100 - tail])
    return float(low), float(high)
