"""Lesions as things to be found, not voxels to be overlapped: counts, and the F1 score over lesions.

The ISLES'22 ATLAS challenge's count difference and lesion-wise F1 (docs/spec/method.md#challenge-metrics). A
lesion is a connected component.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lesions.box import bounding_box

CHALLENGE = 6  # the challenge's connectivity; the lesion tables of this project use 26
_RANK = {6: 1, 18: 2, 26: 3}


@dataclass(frozen=True)
class LesionCounts:
    """Lesions of a truth and of a prediction.

    Attributes:
        truth: Lesions of the truth.
        predicted: Lesions of the prediction.
        found: Lesions of the truth that one predicted voxel or more touches.
        false: Predicted lesions that touch no voxel of the truth.
    """

    truth: int
    predicted: int
    found: int
    false: int

    @property
    def missed(self) -> int:
        """Lesions of the truth that no predicted voxel touches."""
        return self.truth - self.found

    @property
    def difference(self) -> int:
        """|lesions of the truth - lesions of the prediction|."""
        return abs(self.truth - self.predicted)

    @property
    def f1(self) -> float:
        """TP / (TP + (FP + FN) / 2) of found, false and missed lesions; 1 where both masks are empty."""
        errors = self.false + self.missed
        return 1.0 if self.found + errors == 0 else self.found / (self.found + errors / 2)


def label(mask: np.ndarray, connectivity: int = CHALLENGE) -> tuple[np.ndarray, int]:
    """Numbers the connected components of a (X, Y, Z) bool mask.

    Args:
        mask: Is lesion.
        connectivity: Neighbors that join voxels: 6 (faces), 18 (and edges), 26 (and corners).

    Returns:
        (X, Y, Z) labels from 1, 0 outside, and the number of components.

    Raises:
        ValueError: Another connectivity.
    """
    if connectivity not in _RANK:
        raise ValueError(f"connectivity must be 6, 18 or 26, found {connectivity}")
    box = bounding_box(mask)
    labels = np.zeros(mask.shape, dtype=np.int32)
    count = ndimage.label(
        mask[box], ndimage.generate_binary_structure(3, _RANK[connectivity]), output=labels[box]
    )
    return labels, int(count)


def count_lesions(truth: np.ndarray, prediction: np.ndarray, connectivity: int = CHALLENGE) -> LesionCounts:
    """Counts the lesions of two masks and those that touch each other.

    Args:
        truth: (X, Y, Z) bool mask.
        prediction: Bool mask of the same shape.
        connectivity: 6 as in the challenge, 18 or 26.
    """
    both = truth & prediction
    lesions, known = label(truth, connectivity)
    regions, predicted = label(prediction, connectivity)
    found, true = (len(np.unique(labels[both])) for labels in (lesions, regions))
    return LesionCounts(known, predicted, found, predicted - true)
