"""Whole counts from the method's smoothed scores: what was stored rounded is known exactly.

The scores are those of slices (docs/spec/method.md#losses-and-slice-metrics) and of volumes
(docs/spec/method.md#fusion-and-3-d-evaluation).
"""

from __future__ import annotations

import numpy as np

from lesions import metrics

ROUNDING = 1e-6  # relative: scores were stored as float32, with seven digits


def slice_counts(
    lesion_voxels: np.ndarray, dice: np.ndarray, precision: np.ndarray, recall: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Solves TP + 1 = R (n + 1) and FP = (TP + 1) / P - TP - 1 for every slice.

    Args:
        lesion_voxels: (m,) true lesion voxels n.
        dice: (m,) smoothed by 1; checks what the other two say.
        precision: (m,) smoothed by 1.
        recall: (m,) smoothed by 1.

    Returns:
        tp, fp, fn: (m,) int64; and (m,) bool: True where these counts give all three scores again.
    """
    hits = np.rint(recall * (lesion_voxels + 1.0))
    return _checked(hits, lesion_voxels + 1.0, _divide(hits, precision), dice, precision, recall)


def volume_counts(
    dice: np.ndarray, precision: np.ndarray, recall: np.ndarray, volume_difference: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Solves the 3-D scores of every subject: |1 / R - 1 / P| (TP + 1) is the volume difference.

    Where the two volumes are the same, the scores leave the size of the lesion open: not recovered.

    Args:
        dice: (m,) smoothed by 1; checks what the others say.
        precision: (m,) smoothed by 1.
        recall: (m,) smoothed by 1.
        volume_difference: (m,) |true - predicted| voxels.

    Returns:
        As `slice_counts`.
    """
    # |1 / R - 1 / P| without a difference of infinities where a score is 0.
    apart = _divide(np.abs(precision - recall), precision * recall)
    hits = np.rint(_divide(volume_difference, apart))
    tp, fp, fn, exact = _checked(
        hits, _divide(hits, recall), _divide(hits, precision), dice, precision, recall
    )
    return tp, fp, fn, exact & (np.abs(fn - fp) == volume_difference)


def _checked(
    hits: np.ndarray,
    truth: np.ndarray,
    predicted: np.ndarray,
    dice: np.ndarray,
    precision: np.ndarray,
    recall: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Counts of TP + 1, true + 1 and predicted + 1 voxels, and where they give the scores again."""
    known = np.isfinite(hits) & np.isfinite(truth) & np.isfinite(predicted) & (hits >= 1)
    whole = [np.where(known, np.rint(value), 1.0).astype(np.int64) for value in (hits, truth, predicted)]
    tp, fp, fn = whole[0] - 1, whole[2] - whole[0], whole[1] - whole[0]
    exact = known & (fp >= 0) & (fn >= 0)
    tp, fp, fn = (np.where(exact, count, 0) for count in (tp, fp, fn))
    given = {"dice": dice, "precision": precision, "recall": recall}
    for name, values in given.items():
        again = getattr(metrics, name)(tp, fp, fn, 1.0)
        exact = exact & (np.abs(again - values) <= ROUNDING * np.abs(values))
    return tp, fp, fn, exact


def _divide(part: np.ndarray | float, whole: np.ndarray) -> np.ndarray:
    """Quotient, infinite or NaN without a warning where it is divided by 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(part, np.asarray(whole, dtype=np.float64))
