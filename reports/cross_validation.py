"""The folds of one plane side by side, with their mean and spread: the method's table of its cross-validation."""

from __future__ import annotations

import pandas as pd

from reports.tables import Table, table

SCORES = {
    "dice": "Dice",
    "recall": "Recall",
    "precision": "Precision",
    "mean": "Average score",
    "lesion_dice": "Dice, lesion slices",
    "dice_3d": "3-D Dice",
}


def table_of(rows: pd.DataFrame, plane: str) -> Table:
    """A row per fold, and below them the mean and the sample standard deviation over the folds that have scores.

    Args:
        rows: fold, dice, recall, precision, mean (of these three), lesion_dice, dice_3d, best (True for the fold that
            goes on), and failed (why a fold has no scores), if any did.
        plane: Of the caption.
    """
    frame = pd.DataFrame({"Fold": rows["fold"].astype(str)})
    for name, label in SCORES.items():
        frame[label] = rows[name] if name in rows else float("nan")
    frame["Best"] = rows["best"].map({True: "best", False: ""})
    scored = frame[list(SCORES.values())].dropna(how="all").astype(float)
    if "failed" in rows:
        frame.loc[rows["failed"].notna(), "Best"] = "failed: " + rows["failed"]
    over = pd.DataFrame([scored.mean(), scored.std(ddof=1)]).assign(Fold=["mean", "sd"], Best="")
    note = (
        "Dice, recall, precision: means over the published protocol's slices, smoothed by 1; average score: the mean "
        f"of the three. Lesion slices and 3-D: plain. sd: sample, over the {len(scored)} folds with scores. The "
        "validation fold chose the epoch: only the hold-out is a test."
    )
    digits = dict.fromkeys(frame, 4)
    return table(pd.concat([frame, over[list(frame)]]), f"Cross-validation, {plane}", digits, note)
