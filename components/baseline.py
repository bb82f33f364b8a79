"""A plane's models against its released one, by the validation counts that each model carries in itself.

A model may be compared only on slices that neither it nor the other was trained on: both on one fold map, both
validated on one fold. Those slices' counts were written when the released model was evaluated, so no model runs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lesions import metrics
from lesions.errors import InputError
from lesions.files import read_table
from lesions.progress import LOGGER
from lesions.provenance import read_card

VALIDATION = "assets.extra/validation.parquet"  # in a model: fold, and the columns of slices.csv
log = logging.getLogger(LOGGER)


@dataclass(frozen=True)
class Comparison:
    """A plane's models of this run beside the released one.

    Attributes:
        plane: axial, sagittal or coronal.
        release: Id of the newest release; empty where there is none.
        version: Of the released model.
        folds: The validation folds that both were validated on.
        slices: Lesion slices compared, the same for both.
        left_out: Lesion slices of those folds that the data set no longer has as they were.
        released: The released model's mean Dice over them, unsmoothed.
        candidate: This run's.
        reason: Why nothing was compared; empty where it was.
    """

    plane: str
    release: str = ""
    version: int = 0
    folds: str = ""
    slices: int = 0
    left_out: int = 0
    released: float = float("nan")
    candidate: float = float("nan")
    reason: str = ""


def lesion_dice(counts: pd.DataFrame) -> float:
    """Mean Dice over the slices with lesion, unsmoothed; NaN without one."""
    lesion = counts[counts["lesion_voxels"] > 0]
    values = metrics.dice(lesion["tp"], lesion["fp"], lesion["fn"], 0.0)
    return float(np.mean(values)) if len(values) else float("nan")


def compare(
    plane: str, selection: dict[str, Any], counts: pd.DataFrame, release: dict[str, Any] | None, models: Path
) -> Comparison:
    """Compares over the lesion slices of the folds that both the run's and the released models were validated on.

    Args:
        plane: axial, sagittal or coronal.
        selection: FoldSelector's: fold_map and sha256 of the chosen model.
        counts: Of every fold trained in this run: fold, subject, slice, lesion_voxels, tp, fp, fn.
        release: The newest one, None where there is none.
        models: Folder of the released models.
    """
    if release is None or plane not in release["models"]:
        return _not(Comparison(plane), "no model of this plane is released yet")
    released = release["models"][plane]
    found = Comparison(plane, release["id"], released["version"])
    if released["sha256"] == selection["sha256"]:
        return _not(found, "it is this very model")
    folder = models / plane / str(released["version"])
    try:
        card, theirs = read_card(folder), read_table(folder / VALIDATION)
    except InputError as error:
        return _not(found, str(error))
    if card.fold_map != selection["fold_map"]:
        return _not(found, "it was trained on another fold map, maybe on these slices")
    return _pairs(found, counts, theirs)


def _pairs(found: Comparison, ours: pd.DataFrame, theirs: pd.DataFrame) -> Comparison:
    folds = sorted(set(ours["fold"]) & set(theirs["fold"]))
    if not folds:
        return _not(
            found,
            f"it was validated on fold {_list(theirs['fold'])}, this run's on fold {_list(ours['fold'])}",
        )
    ours, theirs = (t[t["fold"].isin(folds) & (t["lesion_voxels"] > 0)] for t in (ours, theirs))
    # Where the true mask has changed since, the released model's counts are no longer what it would get.
    keys = ["fold", "subject", "slice", "lesion_voxels"]
    both = ours.merge(theirs, on=keys, suffixes=("_ours", "_theirs"))
    if both.empty:
        return _not(found, "the data set no longer has the slices that it was validated on")
    values = {
        side: lesion_dice(both.rename(columns={f"{c}_{side}": c for c in ("tp", "fp", "fn")}))
        for side in ("ours", "theirs")
    }
    return replace(
        found,
        folds=_list(folds),
        slices=len(both),
        left_out=len(ours) - len(both),
        released=values["theirs"],
        candidate=values["ours"],
    )


def _not(found: Comparison, reason: str) -> Comparison:
    log.info("%s: not compared with the released model: %s", found.plane, reason)
    return replace(found, reason=reason)


def _list(folds: Any) -> str:
    return ", ".join(map(str, sorted(set(folds))))
