"""Counts of every slice of a validation fold, by the exported model's own `counts` signature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from lesions.progress import to_log
from lesions.provenance import read_card
from lesions.slices import ONE_SLICE
from trainer import input

BATCH = 64


def slice_counts(model: Path, examples: Path, fold: int, name: str) -> pd.DataFrame:
    """Runs the exported model once over all slices of a fold that are not background.

    Args:
        model: SavedModel folder, with its card.
        examples: Folder of the plane's Examples artifact.
        fold: The validation fold.
        name: For the progress line.

    Returns:
        One row per slice: subject, slice, lesion_voxels, size_category, tp, fp, fn.
    """
    index = input.read_index(examples, [fold])
    context = read_card(model).context
    count = tf.saved_model.load(str(model)).signatures["counts"]
    progress, total, parts = to_log(name), len(index.rows), []
    for start in range(0, total, BATCH):
        numbers = np.arange(start, min(start + BATCH, total))
        asked = numbers if context == ONE_SLICE else index.neighbors(numbers, context)
        result = count(examples=tf.constant(index.read(asked)))
        parts.append(np.stack([result[key].numpy() for key in ("tp", "fp", "fn")], axis=1))
        progress(int(numbers[-1]) + 1, total)
    table = pd.DataFrame(np.concatenate(parts), columns=["tp", "fp", "fn"])
    table.insert(0, "size_category", index.rows["category"].astype(int))
    table.insert(0, "lesion_voxels", index.rows["lesion_voxels"])
    table.insert(0, "slice", index.rows["slice"])
    table.insert(0, "subject", np.array(index.subjects)[index.shard])
    return table
