"""Overlap metrics from whole numbers of true positive, false positive and false negative voxels.

For slices (docs/spec/method.md#losses-and-slice-metrics) and volumes
(docs/spec/method.md#fusion-and-3-d-evaluation). Smoothing 1 is the method's, smoothing 0 the plain metric.
Plain metrics of an empty truth and an empty prediction are 1; where only one of the two is empty, all three
are 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

SCORES = ("dice", "recall", "precision")
SMOOTHED = tuple(f"{name}_smoothed" for name in SCORES)  # by 1: the method's own
Counts = Any  # int64 array of any shape, or a whole number


def confusion(
    truth: np.ndarray, prediction: np.ndarray, axes: int | tuple[int, ...] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts true positive, false positive and false negative voxels.

    Args:
        truth: Mask; above 0 is lesion.
        prediction: Mask of the same shape.
        axes: Axes to count over: (1, 2) gives one count per slice of (slices, height, width); None all.

    Returns:
        tp, fp, fn: int64 arrays of the remaining axes.

    Raises:
        ValueError: The shapes differ.
    """
    if np.shape(truth) != np.shape(prediction):
        raise ValueError(f"masks must have one shape, found {np.shape(truth)} and {np.shape(prediction)}")
    truth, prediction = np.asarray(truth) > 0, np.asarray(prediction) > 0
    tp = np.asarray(np.count_nonzero(truth & prediction, axis=axes), dtype=np.int64)
    fp = np.asarray(np.count_nonzero(prediction, axis=axes), dtype=np.int64) - tp
    fn = np.asarray(np.count_nonzero(truth, axis=axes), dtype=np.int64) - tp
    return tp, fp, fn


def dice(tp: Counts, fp: Counts, fn: Counts, smoothing: float = 1.0) -> np.ndarray:
    """(2 TP + s) / (2 TP + FP + FN + s), float64 of the counts' shape."""
    tp, fp, fn = _arrays(tp, fp, fn)
    return _ratio(2 * tp, 2 * tp + fp + fn, tp + fp + fn, smoothing)


def recall(tp: Counts, fp: Counts, fn: Counts, smoothing: float = 1.0) -> np.ndarray:
    """(TP + s) / (TP + FN + s), float64 of the counts' shape."""
    tp, fp, fn = _arrays(tp, fp, fn)
    return _ratio(tp, tp + fn, tp + fp + fn, smoothing)


def precision(tp: Counts, fp: Counts, fn: Counts, smoothing: float = 1.0) -> np.ndarray:
    """(TP + s) / (TP + FP + s), float64 of the counts' shape."""
    tp, fp, fn = _arrays(tp, fp, fn)
    return _ratio(tp, tp + fp, tp + fp + fn, smoothing)


def volume_difference(tp: Counts, fp: Counts, fn: Counts) -> np.ndarray:
    """|voxels of the truth - voxels of the prediction| = |FN - FP|, int64 of the counts' shape."""
    _, fp, fn = _arrays(tp, fp, fn)
    return np.abs(fn - fp)


def overlap(tp: Counts, fp: Counts, fn: Counts) -> dict[str, np.ndarray]:
    """Every overlap score of some counts: a name means the same in every table.

    Returns:
        dice, recall, precision: plain. dice_smoothed, recall_smoothed, precision_smoothed: smoothed by 1.
        volume_difference: voxels. floor: dice_smoothed of a prediction without any voxel.
    """
    tp, fp, fn = _arrays(tp, fp, fn)
    scores = dict(zip(SCORES, (dice, recall, precision), strict=True))
    plain = {name: score(tp, fp, fn, 0.0) for name, score in scores.items()}
    smoothed = {f"{name}_smoothed": score(tp, fp, fn, 1.0) for name, score in scores.items()}
    nothing = np.zeros_like(tp)
    floor = dice(nothing, nothing, tp + fn, 1.0)
    return plain | smoothed | {"volume_difference": volume_difference(tp, fp, fn), "floor": floor}


def summarize(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """n, mean, sd (population), median, q1 and q3 of the values; NaN values are left out of n and all else.

    Without a value all but n are NaN.
    """
    kept = np.asarray(values, dtype=np.float64).ravel()
    kept = kept[~np.isnan(kept)]
    if not len(kept):
        return {"n": 0, **dict.fromkeys(("mean", "sd", "median", "q1", "q3"), float("nan"))}
    q1, median, q3 = np.percentile(kept, [25, 50, 75])
    return {
        "n": len(kept),
        "mean": float(kept.mean()),
        "sd": float(kept.std()),
        "median": float(median),
        "q1": float(q1),
        "q3": float(q3),
    }


def _arrays(*counts: Counts) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(count, dtype=np.int64) for count in counts)


def _ratio(part: np.ndarray, whole: np.ndarray, anything: np.ndarray, smoothing: float) -> np.ndarray:
    """(part + s) / (whole + s); without smoothing 0/0 is 1 where both masks are empty, else 0."""
    if smoothing > 0:
        return np.asarray((part + smoothing) / (whole + smoothing))
    plain = part / np.maximum(whole, 1)
    return np.where(anything == 0, 1.0, plain)
