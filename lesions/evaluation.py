"""Tables of an evaluation: fold by fold, over the folds, all rows together, by size category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lesions.grid import Grid
from lesions.metrics import SCORES, SMOOTHED
from lesions.score_files import ScoreFile
from lesions.summaries import groups, pooled, summary, with_category

MEAN, SPREAD = "mean", "sd (sample)"
ALL, LESION = "all", "lesion"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What some score files say.

    Attributes:
        unit: "slices" or "subjects".
        plane: Of slices: its size categories are used; None where it is unknown.
        rows: All rows of the files, with `fold` in front.
        folds: A row per fold (and prediction): `fold_table`.
        over_folds: Per prediction two rows, the mean and the sample sd of the folds' figures; empty with one fold.
        summary: `summaries.summary` of all rows, by `which` slices: all or lesion (and by prediction).
        pooled: Micro averages (and by prediction) of the rows whose counts are known.
        categories: `summaries.summary` of Dice by size_category; empty where the plane is unknown.
        several_folds: Subjects that lie in more than one fold.
    """

    unit: str
    plane: str | None
    rows: pd.DataFrame
    folds: pd.DataFrame
    over_folds: pd.DataFrame
    summary: pd.DataFrame
    pooled: pd.DataFrame
    categories: pd.DataFrame
    several_folds: list[str]

    @property
    def exact(self) -> int:
        """Rows whose counts are known."""
        return int(self.rows["exact"].sum())


def evaluate(
    files: Sequence[ScoreFile], plane: str | None = None, grid: Grid | None = None, seed: int = 0
) -> Evaluation:
    """Evaluates files of `read_score_files`.

    Args:
        files: Each one fold.
        plane: Of slices; decides the edges of the size categories.
        grid: Of the scans; None means 1 mm.
        seed: Of the bootstrap, which resamples subjects.
    """
    unit = files[0].unit
    rows = pd.concat([file.rows.assign(fold=file.fold) for file in files], ignore_index=True)
    rows.insert(0, "fold", rows.pop("fold"))
    by = ["prediction"] if unit == "subjects" and rows["prediction"].ne("").any() else []
    folds = fold_table(rows, unit, by)
    several = rows.groupby("subject")["fold"].nunique()
    return Evaluation(
        unit,
        plane,
        rows,
        folds,
        _over_folds(folds, by) if len(files) > 1 else pd.DataFrame(),
        _summary(rows, unit, by, seed),
        pooled(rows[rows["exact"]], by),
        _categories(rows, unit, plane, grid, by, seed),
        sorted(several.index[several > 1]),
    )


def fold_table(rows: pd.DataFrame, unit: str, by: Sequence[str] = ()) -> pd.DataFrame:
    """Figures of each fold.

    Args:
        rows: Of an `Evaluation`.
        unit: "slices" or "subjects".
        by: Further columns that make groups.

    Returns:
        fold, `by`, n; mean and sd of the smoothed scores. Slices have the sample sd over the slices, and further
        lesion_slices, subjects, the mean Dice of lesion slices smoothed and plain, and the floor. Subjects have the
        population sd and the volume difference. (Each sd is the one that the method's own tables have.)
    """
    made = []
    for key, group in groups(rows, ["fold", *by]):
        lesion = group[group["lesion_voxels"] > 0]
        row: dict[str, Any] = key | {"n": len(group)}
        if unit == "slices":
            row |= {"lesion_slices": len(lesion), "subjects": group["subject"].nunique()}
        for name in SMOOTHED if unit == "slices" else (*SMOOTHED, "volume_difference"):
            row |= {
                name: group[name].mean(),
                f"{name}_sd": group[name].std(ddof=1 if unit == "slices" else 0),
            }
        if unit == "slices":
            row["lesion_dice_smoothed"] = lesion["dice_smoothed"].mean()
            row["lesion_dice"] = lesion["dice"].mean(skipna=False)
            row["floor"] = group["floor"].mean()
        made.append(row)
    return pd.DataFrame(made)


def missing_subjects(
    rows: pd.DataFrame, expected: Sequence[str]
) -> tuple[list[str], list[str], pd.DataFrame]:
    """What was left out of a table of subjects, and the means that it would have with these as 0.

    Args:
        rows: Of an `Evaluation`.
        expected: Subjects that should be there.

    Returns:
        Subjects that are missing; subjects that were not expected; score, n (all that were expected), mean of the
        expected subjects with a missing one as 0 (empty for slices, or several rows of a subject).
    """
    missing = sorted(set(expected) - set(rows["subject"]))
    strangers = sorted(set(rows["subject"]) - set(expected))
    if "slice" in rows or rows["subject"].duplicated().any():
        return missing, strangers, pd.DataFrame()
    there = rows[rows["subject"].isin(set(expected))]
    count = len(set(expected))
    means = [{"score": name, "n": count, "mean": there[name].sum() / count} for name in SMOOTHED]
    return missing, strangers, pd.DataFrame(means)


def _over_folds(folds: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Mean and sample sd, over the folds, of every mean in the fold table."""
    names = [name for name in folds if name not in ("fold", *by) and not name.endswith("_sd")]
    made = []
    for key, group in groups(folds, by):
        for statistic, values in (
            (MEAN, group[names].mean(skipna=False)),
            (SPREAD, group[names].std(ddof=1)),
        ):
            made.append(key | {"statistic": statistic, "folds": len(group)} | values.to_dict())
    return pd.DataFrame(made)


def _summary(rows: pd.DataFrame, unit: str, by: Sequence[str], seed: int) -> pd.DataFrame:
    if unit == "subjects":
        made = {ALL: (rows, (*SMOOTHED, *SCORES, "volume_difference"))}
    else:
        made = {ALL: (rows, SMOOTHED), LESION: (rows[rows["lesion_voxels"] > 0], (*SMOOTHED, *SCORES))}
    parts = [summary(part, scores, by, seed).assign(which=which) for which, (part, scores) in made.items()]
    whole = pd.concat(parts, ignore_index=True)
    whole.insert(0, "which", whole.pop("which"))
    return whole


def _categories(
    rows: pd.DataFrame, unit: str, plane: str | None, grid: Grid | None, by: Sequence[str], seed: int
) -> pd.DataFrame:
    if unit == "slices" and plane is None:
        return pd.DataFrame()
    sized = rows[rows["lesion_voxels"].notna()]
    sized = with_category(sized, plane if unit == "slices" and plane else "3d", grid)
    sized = sized.sort_values("size_category", kind="stable")
    return summary(sized, ["dice_smoothed", "dice"], [*by, "size_category"], seed)
