"""Volumes a second for all 3-D scores of one subject: ours against the code that a user would write first.

python benchmarks/metrics.py [SUBJECTS]

Masks are those of phantom subjects on the ATLAS grid (197 x 233 x 189, 1 mm), each with a prediction made of it: its
border moved at random, small lesions lost, false ones added. Both ways give all scores of `score_volume`; they are
asserted to be equal. Times are CPU seconds of one thread, taken in turn in one process, so other work on the machine
does not favor one of them.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import surface_distance
from scipy import ndimage

from lesions.phantom.subject import make_subject
from lesions.scoring import score_volume

SPACING = (1.0, 1.0, 1.0)
REPEATS = 2


def prediction_of(truth: np.ndarray, brain: np.ndarray, seed: int) -> np.ndarray:
    """A mask as a network makes it: right in the main, wrong at the border, with scattered false lesions."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.standard_normal(truth.shape).astype(np.float32), 2.0)
    smooth = ndimage.gaussian_filter(truth.astype(np.float32), 1.5)
    soft = np.where(smooth > 0.05, smooth + 0.2 * noise / noise.std(), 0)
    wide = ndimage.gaussian_filter(noise, 3.0)
    false = brain & (wide < np.quantile(wide[brain], 3e-4))
    return (soft > 0.5) & brain | false


def naive(truth: np.ndarray, prediction: np.ndarray) -> dict[str, Any]:
    """The same scores on whole volumes, lesion by lesion, with the packages' own functions."""
    tp = int((truth * prediction).sum())
    fp, fn = int((prediction * (1 - truth)).sum()), int((truth * (1 - prediction)).sum())
    g, p = int(truth.sum()), int(prediction.sum())
    ml = float(np.prod(SPACING)) / 1000
    row = {"tp": tp, "fp": fp, "fn": fn, "lesion_voxels": g, "predicted_voxels": p}
    row |= {"lesion_ml": g * ml, "predicted_ml": p * ml}
    row |= {"dice": 2 * tp / (g + p), "recall": tp / g, "precision": tp / p}
    row |= {"dice_smoothed": (2 * tp + 1) / (g + p + 1), "recall_smoothed": (tp + 1) / (g + 1)}
    row |= {"precision_smoothed": (tp + 1) / (p + 1)}
    row |= {"volume_difference": abs(g - p), "volume_difference_ml": abs(g - p) * ml}
    return row | naive_lesions(truth, prediction) | naive_surface(truth, prediction)


def naive_lesions(truth: np.ndarray, prediction: np.ndarray) -> dict[str, Any]:
    lesions, count = ndimage.label(truth)
    regions, predicted = ndimage.label(prediction)
    found = sum(1 for k in range(1, count + 1) if ((lesions == k) & (prediction > 0)).any())
    false = sum(1 for k in range(1, predicted + 1) if not ((regions == k) & (truth > 0)).any())
    return {
        "lesions": count,
        "predicted_lesions": predicted,
        "found_lesions": found,
        "false_lesions": false,
        "lesion_count_difference": abs(count - predicted),
        "lesion_f1": found / (found + (false + count - found) / 2),
    }


def naive_surface(truth: np.ndarray, prediction: np.ndarray) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made = surface_distance.compute_surface_distances(truth > 0, prediction > 0, SPACING)
    weighted = (made["distances_gt_to_pred"] * made["surfel_areas_gt"]).sum()
    weighted += (made["distances_pred_to_gt"] * made["surfel_areas_pred"]).sum()
    return {
        "hd95": surface_distance.compute_robust_hausdorff(made, 95),
        "assd": weighted / (made["surfel_areas_gt"].sum() + made["surfel_areas_pred"].sum()),
        "surface_dice": surface_distance.compute_surface_dice_at_tolerance(made, 1.0),
    }


def seconds(work: Callable[[], dict[str, Any]], repeats: int) -> tuple[float, dict[str, Any]]:
    """Least CPU seconds of some repeats, and the result."""
    least = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        made = work()
        least = min(least, time.process_time() - start)
    return least, made


def assert_equal(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        if isinstance(value, int):
            assert value == theirs[name], name
        else:
            np.testing.assert_allclose(value, theirs[name], rtol=1e-12, err_msg=name)


def main(subjects: int) -> None:
    total = np.zeros(2)
    print("subject  true voxels  lesions  predicted  Dice   ours, s  naive, s  ratio")
    for index in range(subjects):
        image, mask = make_subject(index, seed=0)
        truth = (mask.data > 0).astype(np.uint8)
        predicted = prediction_of(truth, image.data > 0, index).astype(np.uint8)
        least, row = seconds(lambda t=truth, p=predicted: score_volume(t, p, SPACING), REPEATS)
        other, reference = seconds(lambda t=truth, p=predicted: naive(t, p), REPEATS)
        assert_equal(row, reference)
        total += least, other
        print(
            f"{index:7}  {row['lesion_voxels']:11,}  {row['lesions']:7}  {row['predicted_lesions']:9}  "
            f"{row['dice']:.2f}  {least:8.3f}  {other:8.2f}  {other / least:5.1f}",
            flush=True,
        )
    print(f"\n{subjects} phantom subjects, all scores equal.")
    print(
        f"ours {subjects / total[0]:.2f} volumes/s, naive {subjects / total[1]:.2f}: {total[1] / total[0]:.1f} times"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
