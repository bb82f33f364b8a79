"""Training metrics: Dice, recall and precision of the pixels seen in an epoch."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

THRESHOLD = 0.5
SMOOTHING = 1.0
KINDS = ("dice", "recall", "precision")


def counts(truth: Any, probability: Any) -> tuple[Any, Any, Any]:
    """True positives, false positives and false negatives of a batch's pixels."""
    truth = ops.cast(truth, "float32")
    predicted = ops.cast(probability > THRESHOLD, "float32")
    tp = ops.sum(truth * predicted)
    return tp, ops.sum(predicted) - tp, ops.sum(truth) - tp


def score(kind: str, tp: Any, fp: Any, fn: Any) -> Any:
    """Dice, recall or precision from counts."""
    below = {"dice": tp + 0.5 * (fp + fn), "recall": tp + fn, "precision": tp + fp}[kind]
    smoothing = 0.5 * SMOOTHING if kind == "dice" else SMOOTHING
    return (tp + smoothing) / (below + smoothing)


@keras.saving.register_keras_serializable("raxnet")
class PooledScore(keras.metrics.Metric):
    """One score from true positives, false positives and false negatives summed over an epoch.

    A pixel is lesion where its probability is above 0.5; counts are smoothed by 1
    (docs/spec/method.md#losses-and-slice-metrics).
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
        tp, fp, fn = counts(truth, probability)
        self.tp.assign_add(tp)
        self.fp.assign_add(fp)
        self.fn.assign_add(fn)

    def result(self) -> Any:
        """The score so far."""
        return score(self.kind, self.tp, self.fp, self.fn)

    def get_config(self) -> dict[str, Any]:
        """For saving: the kind is the only argument."""
        return {"kind": self.kind}


def scores() -> list[keras.metrics.Metric]:
    """Fresh Dice, recall and precision."""
    return [PooledScore(kind) for kind in KINDS]
