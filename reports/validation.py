"""Slice metrics of the validation folds, fold by fold: optimistic, and labelled so everywhere."""

from __future__ import annotations

import pandas as pd

from reports.blocks import Block, Heading, Section, TableBlock, Text
from reports.content import RunReport
from reports.scores import spread
from reports.tables import table

OPTIMISTIC = "Validation, optimistic"
PROTOCOLS = {
    "published": "published protocol",
    "all": "all slices, smoothed",
    "lesion": "lesion slices",
    "subjects": "subjects, 3-D",
}
_METHOD = (
    "Published protocol: every slice with lesion and as many without, smoothed by 1, means over slices; sd: sample, "
    "over slices, as in the method's own tables. Floor: Dice of a prediction without any voxel."
)
_HONEST = (
    "All slices: those that are not background, smoothed by 1. Lesion slices: those with lesion, unsmoothed. Subjects: "
    "3-D, from all slices of this plane, unsmoothed. 95 % interval: bootstrap over subjects. sd: population. Pooled: "
    "of the summed voxels, in which large lesions weigh most. Floor: Dice of a prediction without any voxel."
)


def validation(content: RunReport) -> Section:
    """What each model scored on its validation fold, which chose its epoch and perhaps itself."""
    rows = content.validation
    if rows.empty:
        return Section("validation", OPTIMISTIC, (Text("No validation fold was evaluated.", "missing"),))
    said = Text(
        "These folds chose the epoch and take part in choosing the fold, so their figures are optimistic. Only the "
        "hold-out is a test. Means over slices are not comparable with 3-D scores.",
        "caution",
    )
    folds = fold_by_fold(rows)
    digits = {str(name): 4 for name in folds}  # as the original's tables have
    method = table(folds, _caption("published protocol"), digits, _METHOD)
    hidden = table(honest(rows), _caption("Dice by what is counted"), note=_HONEST)
    blocks: tuple[Block, ...] = (
        said,
        Heading("Fold by fold, as the method reports it"),
        TableBlock(method),
        Heading("What a slice mean hides"),
        TableBlock(hidden),
    )
    return Section("validation", OPTIMISTIC, blocks)


def _caption(what: str) -> str:
    return f"{OPTIMISTIC}: {what}"


def fold_by_fold(rows: pd.DataFrame) -> pd.DataFrame:
    """The published protocol: a row per plane and fold, and the mean over the folds where there are several.

    Args:
        rows: `RunReport.validation`.
    """
    made = []
    for plane, folds in rows[rows["slices"] == "published"].groupby("plane", sort=False):
        own = [_fold(plane, fold, metrics) for fold, metrics in folds.groupby("fold")]
        made += own
        if len(own) > 1:
            means = pd.DataFrame(own)[["Dice", "Precision", "Recall", "Floor"]].mean().to_dict()
            made.append({"Plane": plane, "Fold": f"mean of {len(own)} folds", **means})
    return pd.DataFrame(made).astype({"Slices": "Int64"})


def _fold(plane: object, fold: object, metrics: pd.DataFrame) -> dict[str, object]:
    metrics = metrics.set_index("metric")
    dice = metrics.loc["dice"]
    row = {"Plane": plane, "Fold": _fold_name(fold, dice["chosen"]), "Slices": int(dice["n"])}
    for name in ("dice", "precision", "recall"):
        row[name.capitalize()] = metrics.loc[name, "mean"]
        row[f"{name.capitalize()} sd"] = metrics.loc[name, "sd_sample"]
    return row | {"Floor": dice["floor"]}


def _fold_name(fold: object, chosen: bool) -> str:
    return f"{fold} (chosen)" if chosen else str(fold)


def honest(rows: pd.DataFrame) -> pd.DataFrame:
    """Dice of all slices, of lesion slices, and of subjects in 3-D: a row per plane, fold and kind.

    Args:
        rows: `RunReport.validation`.
    """
    dice = rows[(rows["metric"] == "dice") & (rows["slices"] != "published")]
    made = []
    for _, row in dice.iterrows():
        made.append(
            {
                "Plane": row["plane"],
                "Fold": _fold_name(row["fold"], row["chosen"]),
                "Counted": PROTOCOLS[row["slices"]],
                **spread(row),
                "Pooled": row["pooled"],
                "Floor": row["floor"],
            }
        )
    return pd.DataFrame(made)
