"""TensorBoard's log of one training: every figure of an epoch, and some validation slices as images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.input import Index

SLICES = 4


def shown(index: Index) -> np.ndarray:
    """Rows of the slices that are shown: with lesion, from the small to the largest, evenly spaced by rank."""
    lesions = np.flatnonzero(index.rows["lesion_voxels"] > 0)
    ordered = lesions[np.argsort(index.rows["lesion_voxels"][lesions], kind="stable")]
    ranks = np.linspace(0, len(ordered) - 1, SLICES + 1)[1:].round().astype(int)
    return ordered[np.unique(ranks)]


class Board:
    """Writes after each epoch; a resumed training goes on in the same folder."""

    def __init__(self, folder: Path, image: tf.Tensor, mask: tf.Tensor, target: int):
        """Opens the log.

        Args:
            folder: Of the log files.
            image: (n, rows, columns, slices) as the network gets them.
            mask: (n, rows, columns, 1).
            target: Which of the slices is segmented.
        """
        self.writer = tf.summary.create_file_writer(str(folder))
        self.image, self.mask, self.target = image, mask, target

    def write(self, row: Mapping[str, Any], model: keras.Model) -> None:
        """Writes an epoch's row of the history, and slice, mask and probability side by side."""
        epoch = int(row["epoch"])
        seen = self.image[..., self.target : self.target + 1] / 255.0
        probability = tf.cast(model(self.image, training=False), tf.float32)
        with self.writer.as_default():
            for name, value in row.items():
                if name != "epoch":
                    tf.summary.scalar(name, value, step=epoch)
            panels = tf.concat([seen, self.mask, probability], axis=2)
            tf.summary.image("slice, lesion, probability", panels, step=epoch, max_outputs=SLICES)
        self.writer.flush()
