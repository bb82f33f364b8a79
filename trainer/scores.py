"""Training metrics: Dice, recall and precision of the pixels seen in an epoch."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

THRESHOLD = 0.5
SMOOTHING = 1.0


@keras.saving.register_keras_serializable("raxnet")
class PooledScore(keras.metrics.Metric):
    """One score from true positives, false positives and false negatives summed over an epoch.

    A pixel is lesion where its probability is above 0.5; counts are smoothed by 1 (raxnet.md, 7).
    """

    def __init__(self, kind: str, **kwargs: Any):
        """Args: kind: dice, recall or precision; it is the metric's name too."""
        super().__init__(name=kind, **kwargs)
        self.kind = kind
        self.tp = self.add_weight(name="tp", initializer="zeros", dtype="float32")
        self.fp = self.add_weight(name="fp", initializer="zeros", dtype="float32")
        self.fn = self.add_weight(name="fn", initializer="zeros", dtype="float32")

    def update_state(self, truth: Any, probability: Any, sample_weight: Any = None) -> None:
        """Adds a batch's counts."""
        truth = ops.cast(truth, "float32")
        predicted = ops.cast(probability > THRESHOLD, "float32")
        tp = ops.sum(truth * predicted)
        self.tp.assign_add(tp)
        self.fp.assign_add(ops.sum(predicted) - tp)
        self.fn.assign_add(ops.sum(truth) - tp)

    def result(self) -> Any:
        """The score so far."""
        tp, fp, fn = self.tp, self.fp, self.fn
        below = {"dice": tp + 0.5 * (fp + fn), "recall": tp + fn, "precision": tp + fp}[self.kind]
        smoothing = 0.5 * SMOOTHING if self.kind == "dice" else SMOOTHING
        return (tp + smoothing) / (below + smoothing)

    def get_config(self) -> dict[str, Any]:
        """For saving: the kind is the only argument."""
        return {"kind": self.kind}


def scores() -> list[keras.metrics.Metric]:
    """Fresh Dice, recall and precision."""
    return [PooledScore(kind) for kind in ("dice", "recall", "precision")]
