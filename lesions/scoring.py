"""All 3-D scores of one subject. What each means, and what it is where a mask is empty: docs/metrics.md."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lesions import metrics
from lesions.box import bounding_box
from lesions.lesionwise import CHALLENGE, count_lesions
from lesions.surface import TOLERANCE, surface_distances


def score_volume(
    truth: np.ndarray,
    prediction: np.ndarray,
    spacing: Sequence[float],
    connectivity: int = CHALLENGE,
    tolerance: float = TOLERANCE,
) -> dict[str, int | float]:
    """Scores a predicted mask against the true one, whole volumes, from whole counts.

    Args:
        truth: (X, Y, Z) mask; above 0 is lesion.
        prediction: Mask of the same shape.
        spacing: Edges of a voxel along the three axes, mm.
        connectivity: Of lesions: 6 (the challenge's), 18 or 26.
        tolerance: Of the surface Dice, mm.

    Returns:
        tp, fp, fn, lesion_voxels, predicted_voxels (voxels), lesion_ml, predicted_ml;
        dice, recall, precision (plain) and the same with `_smoothed` (the method's, smoothed by 1);
        volume_difference (voxels), volume_difference_ml;
        lesions, predicted_lesions, found_lesions, false_lesions, lesion_count_difference, lesion_f1;
        hd95, assd (mm; NaN where a mask is empty), surface_dice.

    Raises:
        ValueError: Shapes that differ or are not 3-D, a NaN in a mask, or a spacing that is not three positive
            numbers.
    """
    truth, prediction = _mask(truth, "truth"), _mask(prediction, "prediction")
    if truth.shape != prediction.shape:
        raise ValueError(f"masks must have one shape, found {truth.shape} and {prediction.shape}")
    if len(spacing) != 3 or not all(np.isfinite(edge) and edge > 0 for edge in spacing):
        raise ValueError(f"spacing must be three positive numbers in mm, found {tuple(spacing)}")
    box = bounding_box(truth | prediction)
    truth, prediction = np.ascontiguousarray(truth[box]), np.ascontiguousarray(prediction[box])
    return (
        _overlap(truth, prediction, float(np.prod(spacing)) / 1000.0)
        | _lesions(truth, prediction, connectivity)
        | _surface(truth, prediction, spacing, tolerance)
    )


def _mask(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 3:
        raise ValueError(f"{name} must have three axes, found shape {values.shape}")
    if values.dtype == bool:
        return values
    if np.issubdtype(values.dtype, np.floating) and np.isnan(values).any():
        raise ValueError(f"{name} must not hold NaN, found {int(np.isnan(values).sum())}")
    return values > 0


def _overlap(truth: np.ndarray, prediction: np.ndarray, voxel_ml: float) -> dict[str, int | float]:
    tp, fp, fn = (int(count) for count in metrics.confusion(truth, prediction))
    counts = {"tp": tp, "fp": fp, "fn": fn, "lesion_voxels": tp + fn, "predicted_voxels": tp + fp}
    volumes = {"lesion_ml": (tp + fn) * voxel_ml, "predicted_ml": (tp + fp) * voxel_ml}
    scores = {name: value.item() for name, value in metrics.overlap(tp, fp, fn).items() if name != "floor"}
    return counts | volumes | scores | {"volume_difference_ml": scores["volume_difference"] * voxel_ml}


def _lesions(truth: np.ndarray, prediction: np.ndarray, connectivity: int) -> dict[str, int | float]:
    counts = count_lesions(truth, prediction, connectivity)
    return {
        "lesions": counts.truth,
        "predicted_lesions": counts.predicted,
        "found_lesions": counts.found,
        "false_lesions": counts.false,
        "lesion_count_difference": counts.difference,
        "lesion_f1": counts.f1,
    }


def _surface(
    truth: np.ndarray, prediction: np.ndarray, spacing: Sequence[float], tolerance: float
) -> dict[str, int | float]:
    distances = surface_distances(truth, prediction, spacing)
    return {
        "hd95": distances.hausdorff(95.0),
        "assd": distances.average(),
        "surface_dice": distances.dice(tolerance),
    }
