"""Fusion of the planes' probability volumes into one lesion mask (docs/spec/method.md#fusion-and-3-d-evaluation)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def fuse_mean(probabilities: Iterable[np.ndarray], threshold: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """The method's rule: lesion where the mean of the planes' probabilities reaches the threshold.

    Args:
        probabilities: (X, Y, Z) float32 volumes, one per plane; taken one at a time, so a generator saves
            memory.
        threshold: Of the mean, in (0, 1].

    Returns:
        The mean, (X, Y, Z) float32, and the mask, uint8 0 or 1.

    Raises:
        ValueError: No volume, or volumes of different shapes.
    """
    mean, _, _ = _gather(probabilities, threshold)
    return mean, (mean >= threshold).astype(np.uint8)


def fuse_majority(
    probabilities: Iterable[np.ndarray], threshold: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Lesion where more than half of the planes reach the threshold; two planes must agree.

    Arguments, errors and the first result (the mean) as `fuse_mean`.
    """
    mean, votes, count = _gather(probabilities, threshold)
    return mean, (2 * votes > count).astype(np.uint8)


def disagreement(probabilities: Iterable[np.ndarray]) -> np.ndarray:
    """Largest minus smallest probability of the planes at each voxel: (X, Y, Z) float32 in [0, 1].

    Raises:
        ValueError: No volume, or volumes of different shapes.
    """
    low = high = None
    for volume in probabilities:
        if low is None or high is None:
            low, high = (np.array(volume, dtype=np.float32) for _ in range(2))
            continue
        _require_shape(volume, low)
        np.minimum(low, volume, out=low)
        np.maximum(high, volume, out=high)
    if low is None or high is None:
        raise ValueError("fusion needs at least one probability volume, found none")
    return high - low


def _gather(probabilities: Iterable[np.ndarray], threshold: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean, votes for lesion and number of volumes, as a running sum."""
    total, votes, count = None, None, 0
    for volume in probabilities:
        count += 1
        if total is None or votes is None:
            total = np.array(volume, dtype=np.float32)
            votes = (total >= threshold).astype(np.uint8)
            continue
        _require_shape(volume, total)
        total += volume
        votes += volume >= threshold
    if total is None or votes is None:
        raise ValueError("fusion needs at least one probability volume, found none")
    total /= np.float32(count)
    return total, votes, count


def _require_shape(volume: np.ndarray, first: np.ndarray) -> None:
    if volume.shape != first.shape:
        raise ValueError(f"fusion needs volumes of one shape, found {first.shape} and {volume.shape}")
