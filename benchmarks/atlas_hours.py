"""What an epoch on ATLAS takes at a measured speed; for the benchmarks beside this file."""

from __future__ import annotations

import pandas as pd

# Lesion slices of 655 subjects (docs/spec/method.md#golden-values); four of five folds of the 523 that are not held out
# train (docs/spec/method.md#hold-out-and-folds).
LESION_SLICES = {"axial": 32_989, "sagittal": 23_455, "coronal": 34_096}
TRAINED = 523 / 655 * 4 / 5


def hours(measured: pd.DataFrame, speed: str) -> pd.DataFrame:
    """Hours of an epoch on one fold of ATLAS, as many normal slices as lesion slices, by plane; without validation.

    Args:
        measured: One row per network; `network`, and slices per second under `speed`.
        speed: A column.
    """
    made = pd.DataFrame({"network": measured["network"]})
    for plane, lesion in LESION_SLICES.items():
        made[f"{plane}, hours an epoch"] = 2 * lesion * TRAINED / measured[speed] / 3600
    return made
