"""Groups of subjects with equal lesion-size distributions: random starts improved by swaps of two subjects.

This is how folds are drawn (docs/spec/method.md#hold-out-and-folds). What a group may differ in from the whole
(CDF of the lesion sizes, shares of the size categories, rank sum) is a sum over its subjects. So the sum of
squares of these differences changes, when two subjects swap groups, by an amount that follows from scalar
products alone, and the best of all swaps is found at once. The features are rounded to whole numbers small
enough that all products are exact in float64: the order in which a machine adds them does not matter, and the
same seed gives the same groups everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

CATEGORIES = 6
KS_LIMIT, TV_LIMIT, Z_LIMIT = 0.015, 0.01, 0.674  # |z| below 0.674 is a Mann-Whitney p above 0.5
GOOD = 0.75  # the search ends where the worst figure is this share of its limit
BLOCK = 800  # subjects looked at in one round: bounds memory and time
KICK = 8  # random swaps before each round
CUTS = 100  # points of the CDF that the search looks at
# Relative weights of the features' squares; found by trial on the ATLAS tables.
W_CDF, W_SHARE, W_SHARE_3D, W_RANK, W_COUNT, W_3D = 4.0, 0.3, 1.0, 0.3, 0.05, 0.3


@dataclass(frozen=True, eq=False)
class Sample:
    """One table's lesions: (n,) subject number, size and size category of each row; `plane` False for 3-D."""

    owner: np.ndarray
    sizes: np.ndarray
    categories: np.ndarray
    plane: bool = True


def balance(
    samples: list[Sample],
    groups: np.ndarray,
    allowed: np.ndarray | None,
    rounds: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Swaps subjects between groups until every group has the lesion sizes of the whole.

    Args:
        samples: One per table.
        groups: (subjects,) group numbers 0..K-1 to start from; group sizes stay.
        allowed: (subjects,) labels: only subjects of one label swap; None lets all swap.
        rounds: Searches at most, each from the best so far, shaken.
        rng: Source of all chance.

    Returns:
        (subjects,) group numbers; those whose worst figure is the smallest seen.
    """
    samples = [sample for sample in samples if len(sample.sizes)]
    features = _features(samples, len(groups))
    labels = np.zeros(len(groups), dtype=np.int64) if allowed is None else allowed
    best = groups.copy()
    _descend(features, best, labels, rng)
    lowest = worst_figure(samples, best)
    for _ in range(rounds):
        if lowest <= GOOD:
            break
        trial = _shaken(best, labels, rng)
        _descend(features, trial, labels, rng)
        figure = worst_figure(samples, trial)
        if figure < lowest:
            best, lowest = trial, figure
    return best


def worst_figure(samples: list[Sample], groups: np.ndarray) -> float:
    """Largest KS, TV and |z| of all planes and groups against the other groups, in units of their limits."""
    count = int(groups.max()) + 1
    worst = 0.0
    for sample in samples:
        if not sample.plane:
            continue
        group = groups[sample.owner]
        _, code = np.unique(sample.sizes, return_inverse=True)
        ks = _distance(_histogram(group, code, count).cumsum(axis=1), group, count).max(axis=1)
        tv = _distance(_histogram(group, sample.categories, count), group, count).sum(axis=1) / 2
        z = np.abs(_z(sample.sizes, group, count))
        worst = max(worst, float(ks.max()) / KS_LIMIT, float(tv.max()) / TV_LIMIT, float(z.max()) / Z_LIMIT)
    return worst


def _histogram(group: np.ndarray, code: np.ndarray, count: int) -> np.ndarray:
    width = int(code.max()) + 1
    return np.bincount(group * width + code, minlength=count * width).reshape(count, width)


def _distance(counts: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """|share in the group - share in the others| of each column of (groups, bins) counts."""
    inside = np.maximum(np.bincount(group, minlength=count), 1)
    outside = np.maximum(len(group) - np.bincount(group, minlength=count), 1)
    return np.abs(counts / inside[:, None] - (counts.sum(axis=0) - counts) / outside[:, None])


def _z(sizes: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """Mann-Whitney z of each group against the others (variance without ties: barely smaller)."""
    n = np.bincount(group, minlength=count).astype(float)
    ranks = np.bincount(group, weights=stats.rankdata(sizes), minlength=count)
    total = len(sizes)
    spread = np.sqrt(np.maximum(n * (total - n) * (total + 1) / 12, 1.0))
    return (ranks - n * (total + 1) / 2) / spread


def _features(samples: list[Sample], subjects: int) -> np.ndarray:
    """(subjects, features) whole numbers in float64; a group's sums are its differences from the whole."""
    columns = [np.zeros(subjects)]
    for sample in samples:
        columns += _columns(sample, subjects)
    features = np.stack(columns, axis=1)
    # 2^16 a value: squares below 2^32, over 2^9 features and 2^11 subjects still below 2^53. More subjects, fewer bits.
    bits = min(16, (43 - (subjects - 1).bit_length()) // 2)
    return np.rint(features * (2.0**bits / max(float(np.abs(features).max()), 1e-12)))


def _columns(sample: Sample, subjects: int) -> list[np.ndarray]:
    total = len(sample.sizes)
    rows = np.bincount(sample.owner, minlength=subjects)
    ordered = np.sort(sample.sizes)
    cuts = np.unique(ordered[np.linspace(0, total - 1, CUTS + 2).astype(np.int64)[1:-1]])
    weight, share = (1.0, W_SHARE) if sample.plane else (W_3D, W_SHARE_3D)

    def excess(chosen: np.ndarray, scale: float) -> np.ndarray:
        """Rows chosen of each subject, less its fair share of all chosen."""
        own = np.bincount(sample.owner[chosen], minlength=subjects)
        return (own - own.sum() * rows / total) * (weight * scale / total)

    cdf = W_CDF / np.sqrt(len(cuts)) / KS_LIMIT
    columns = [excess(sample.sizes <= cut, cdf) for cut in cuts]
    columns += [excess(sample.categories == k, share / TV_LIMIT) for k in range(1, CATEGORIES + 1)]
    centered = (stats.rankdata(sample.sizes) - (total + 1) / 2) / total
    rank_sum = np.bincount(sample.owner, weights=centered, minlength=subjects)
    columns.append(rank_sum * (weight * W_RANK / 0.003 / total))
    columns.append((rows - rows.mean()) * (weight * W_COUNT / TV_LIMIT / total))
    return columns


def _shaken(groups: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shaken = groups.copy()
    for first, second in rng.integers(len(groups), size=(KICK, 2)):
        if labels[first] == labels[second]:
            shaken[first], shaken[second] = shaken[second], shaken[first]
    return shaken


def _descend(features: np.ndarray, groups: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> None:
    """Swaps the best pair, in place, until none improves the sum of squares of all groups' column sums."""
    count = int(groups.max()) + 1
    sums = np.stack([features[groups == k].sum(axis=0) for k in range(count)], axis=1)
    block = np.arange(len(groups))
    if len(block) > BLOCK:
        block = np.sort(rng.permutation(len(block))[:BLOCK])
    own, gram = groups[block], features[block] @ features[block].T
    products = features[block] @ sums  # of each subject with each group's sum
    square = np.diag(gram)
    distance = square[:, None] + square[None, :] - 2 * gram
    distance[labels[block][:, None] != labels[block][None, :]] = np.inf
    while True:
        across = products[:, own]  # [t, s]: subject t with the group of s
        home = np.diag(across)
        change = across + across.T - home[:, None] - home[None, :] + distance
        first, second = divmod(int(change.argmin()), len(block))
        if not change[first, second] < 0:
            break
        a, b = own[first], own[second]
        own[first], own[second] = b, a
        step = gram[:, second] - gram[:, first]
        products[:, a] += step
        products[:, b] -= step
    groups[block] = own
