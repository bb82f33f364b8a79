"""What is watched while an epoch is trained: how far it is, and whether its loss is a number."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from lesions.errors import WorkError
from lesions.progress import to_log
from trainer.input import Index


class Steps(keras.callbacks.Callback):
    """Shows the steps of an epoch, once a second at most."""

    def __init__(self, description: str, total: int):
        """Args: description: Of the bar. total: Steps of the epoch."""
        super().__init__()
        self.progress, self.total, self.shown = to_log(description), total, 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts a step."""
        now = time.monotonic()
        if now - self.shown > 1.0 or batch + 1 == self.total:
            self.shown = now
            self.progress(batch + 1, self.total)


class Finite(keras.callbacks.Callback):
    """Stops at the first batch after which the loss is no number, before anything of it is kept."""

    def __init__(self, index: Index, plan: Sequence[np.ndarray], name: str, epoch: int):
        """Args: index: Of the records. plan: Their numbers, batch by batch. name: For people. epoch: From 0."""
        super().__init__()
        self.index, self.plan, self.name, self.epoch = index, plan, name, epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Looks at the mean loss so far.

        Raises:
            WorkError: It is no number; names the batch's subjects and slices.
        """
        if logs is None or np.isfinite(float(logs["loss"])):
            return
        kept = f"the checkpoint of epoch {self.epoch} is kept" if self.epoch else "no epoch was completed"
        raise WorkError(
            f"{self.name}: the loss is no number at batch {batch + 1} of epoch {self.epoch + 1}, of "
            f"{slices_of(self.index, self.plan[batch])}; lower learning_rate or look at these slices; {kept}"
        )


def slices_of(index: Index, rows: np.ndarray) -> str:
    """Subjects and slices of some rows: `sub-a slices 4, 9; sub-b slices 7`."""
    subjects = np.array(index.subjects)[index.shard[rows]]
    numbers = index.rows["slice"][rows]
    return "; ".join(
        f"{subject} slices {', '.join(map(str, sorted(numbers[subjects == subject])))}"
        for subject in sorted(set(subjects))
    )
