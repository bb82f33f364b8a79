"""What the original publication states of its scores, and whether rows at hand give the same.

`source` says whether the original's README or its published tables state it, or whether it was computed once
from the published rows (docs/spec/method.md#hold-out-and-folds, docs/spec/method.md#losses-and-slice-metrics,
docs/spec/method.md#published-figures).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lesions.evaluation import MEAN, Evaluation

README, TABLE, ROWS = "the README", "the published table", "computed from the published rows"
FOLDS = 5  # of the original
_FOLD_1 = (("dice", "0.6878", "0.3762"), ("recall", "0.8055", "0.3292"), ("precision", "0.7714", "0.3324"))
_OVER_FOLDS = {
    "axial": ("0.7105", "0.7802", "0.8306"),
    "coronal": ("0.6876", "0.7549", "0.8319"),
    "sagittal": ("0.6218", "0.7056", "0.7844"),
}
_LESION = {"axial": "0.5028", "coronal": "0.459", "sagittal": "0.417"}
_FLOOR = {"axial": "0.5119", "coronal": "0.5125", "sagittal": "0.4519"}
_FUSION = {
    "dice_smoothed": ("0.6126", "0.2578"),
    "precision_smoothed": ("0.6833", "0.2281"),
    "recall_smoothed": ("0.6386", "0.2964"),
    "volume_difference": ("6489.6", "9686.8"),
}
_FUSION_CATEGORIES = ("0.456", "0.606", "0.748", "0.813", "0.826", "0.896")
_SCORE = ("dice", "recall", "precision")
# What is known to deviate and cannot be seen in rows of one kind alone.
_REMARKS = {
    "axial": ("98 of its subjects lie in two to four folds: folds of the original are not independent",),
    "sagittal": (
        "69 of its subjects lie in two to four folds",
        "its normal slices were picked along the coronal axis: 13 % of them hold lesion",
    ),
    "coronal": (
        "73 of its subjects lie in two to four folds",
        "its slice Dice after fusion is stated as 0.8633, and is 0.8379 once the truncated list of values before "
        "fusion is mended",
    ),
    "3d": (
        "20 of the 132 hold-out subjects are left out, without a reason: 19 with lesions below 1,000 voxels, one of "
        "3,549",
        "over all 132, with these as 0, its mean 3-D Dice is 0.520",
    ),
}


@dataclass(frozen=True)
class Stated:
    """One figure of the original.

    Attributes:
        what: Of what it is.
        value: As it is written: its digits say how exact it is meant.
        source: Who says so.
        column: Where the fold table, or the means over folds, have it.
        fold: Of the fold table; "" is the mean over the folds.
    """

    what: str
    value: str
    source: str
    column: str
    fold: str = ""


def stated(unit: str, plane: str | None) -> list[Stated]:
    """The original's figures that rows of `unit` and `plane` can be held against; none for an unknown plane."""
    if unit == "subjects":
        return _stated_fusion()
    if plane not in _OVER_FOLDS:
        return []
    facts = [
        Stated(f"mean {name} over five folds", value, ROWS, f"{name}_smoothed")
        for name, value in zip(_SCORE, _OVER_FOLDS[plane], strict=True)
    ]
    facts.append(
        Stated("mean dice of lesion slices over five folds", _LESION[plane], ROWS, "lesion_dice_smoothed")
    )
    facts.append(Stated("dice of an all-empty prediction over five folds", _FLOOR[plane], ROWS, "floor"))
    if plane == "axial":
        facts.insert(0, Stated("mean dice over five folds", "0.7104", README, "dice_smoothed"))
        for name, mean, spread in _FOLD_1:
            facts.append(Stated(f"mean {name} of fold 1", mean, TABLE, f"{name}_smoothed", "1"))
            facts.append(Stated(f"sample sd of {name} of fold 1", spread, TABLE, f"{name}_smoothed_sd", "1"))
    return facts


def _stated_fusion() -> list[Stated]:
    facts = []
    for column, (mean, spread) in _FUSION.items():
        name = column.replace("_smoothed", "").replace("_", " ")
        facts.append(Stated(f"mean 3-D {name} of 112 subjects", mean, TABLE, column, "*"))
        facts.append(
            Stated(f"population sd of 3-D {name} of 112 subjects", spread, TABLE, f"{column}_sd", "*")
        )
    return facts


def remarks(unit: str, plane: str | None) -> tuple[str, ...]:
    """What is known to deviate in the original's scores of this kind, beside the figures of `compare`."""
    return _REMARKS.get("3d" if unit == "subjects" else str(plane), ())


def compare(evaluation: Evaluation) -> pd.DataFrame:
    """Holds an evaluation against the original's figures.

    Returns:
        A row per figure that the rows can be held against: figure, stated (text), source, found, difference, verdict
        (`verdict`). Figures over five folds need five files, those of a fold need that fold.
    """
    made = []
    for fact in stated(evaluation.unit, evaluation.plane):
        found = _find(evaluation, fact)
        if found is not None:
            row = {"figure": fact.what, "stated": fact.value, "source": fact.source, "found": found}
            made.append(
                row | {"difference": found - float(fact.value), "verdict": verdict(fact.value, found)}
            )
    if evaluation.unit == "subjects":
        made += _compare_categories(evaluation)
    return pd.DataFrame(made)


def verdict(text: str, found: float) -> str:
    """How a figure as written relates to one that was found: rounded, truncated, or deviates.

    A figure within one unit of its last digit of what was found is not a deviation.
    """
    digits = len(text.partition(".")[2])
    unit = 10.0**-digits
    if f"{found:.{digits}f}" == text:
        return "rounded"
    if f"{np.floor(found / unit) * unit:.{digits}f}" == text:
        return "truncated"
    return "within one unit of its last digit" if abs(found - float(text)) <= unit else "deviates"


def _find(evaluation: Evaluation, fact: Stated) -> float | None:
    folds = evaluation.folds
    if fact.fold == "*":
        return float(folds[fact.column].iloc[0]) if len(folds) == 1 and folds["n"].iloc[0] == 112 else None
    if fact.fold:
        of_fold = folds.loc[folds["fold"] == fact.fold, fact.column]
        return float(of_fold.iloc[0]) if len(of_fold) == 1 else None
    if len(folds) != FOLDS:
        return None
    return float(evaluation.over_folds.set_index("statistic").loc[MEAN, fact.column])


def _compare_categories(evaluation: Evaluation) -> list[dict[str, object]]:
    """By size category, where the lesion's size is known of all 112."""
    categories = evaluation.categories
    if len(evaluation.folds) != 1 or evaluation.folds["n"].iloc[0] != 112 or evaluation.exact != 112:
        return []
    of_dice = categories[categories["score"] == "dice_smoothed"].set_index("size_category")["mean"]
    return [
        {"figure": f"mean 3-D dice of size category {k}", "stated": text, "source": TABLE, "found": of_dice[k],
         "difference": of_dice[k] - float(text), "verdict": verdict(text, of_dice[k])}
        for k, text in enumerate(_FUSION_CATEGORIES, start=1) if k in of_dice
    ]  # fmt: skip
