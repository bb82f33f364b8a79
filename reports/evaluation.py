"""An evaluation of score files as tables and notes."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lesions import published
from lesions.bootstrap import RESAMPLES
from lesions.evaluation import Evaluation, missing_subjects
from lesions.grid import Grid
from lesions.metrics import SMOOTHED
from reports.distributions import category_names, category_unit
from reports.tables import Table, as_markdown, as_text, table

NAMES = {
    "dice_smoothed": "Dice",
    "recall_smoothed": "Recall",
    "precision_smoothed": "Precision",
    "dice": "Dice, plain",
    "recall": "Recall, plain",
    "precision": "Precision, plain",
    "volume_difference": "Volume difference",
}
_FIGURES = {
    "n": "n",
    "left_out": "Left out",
    "mean": "Mean",
    "ci_low": "95 % from",
    "ci_high": "to",
    "sd_population": "sd (population)",
    "sd_sample": "sd (sample)",
    "median": "Median",
    "q1": "q1",
    "q3": "q3",
}
_SD = {
    "slices": "sd: sample (n - 1), over the slices of a fold",
    "subjects": "sd: population (n), over subjects",
}


def tables(
    evaluation: Evaluation, grid: Grid | None = None, compared: pd.DataFrame | None = None
) -> dict[str, Table]:
    """All tables of an evaluation.

    Args:
        evaluation: Of `lesions.evaluation.evaluate`.
        grid: For the unit of the size categories; None means voxels or pixels.
        compared: Of `lesions.published.compare`; None or empty leaves that table out.

    Returns:
        folds, summary, pooled, categories, published; those that have rows.
    """
    what = "slices, 2-D" if evaluation.unit == "slices" else "subjects, 3-D"
    made = {
        "folds": _table(_folds(evaluation), f"Fold by fold ({what})", _folds_note(evaluation)),
        "summary": _table(
            _summary(evaluation),
            f"All rows together ({what})",
            f"95 %: percentile bootstrap of the mean, {RESAMPLES:,} draws of whole subjects. Scores are smoothed by 1 "
            "where they are not called plain. Left out: without a value.",
        ),
        "pooled": _table(
            evaluation.pooled.rename(columns={**NAMES, "tp": "TP", "fp": "FP", "fn": "FN"}),
            "Pooled (micro): plain scores of the summed voxels, in which large lesions weigh most",
        ),
    }
    if len(evaluation.categories):
        kind = evaluation.plane if evaluation.unit == "slices" and evaluation.plane else "3d"
        made["categories"] = _table(
            _categories(evaluation, kind, grid),
            f"Dice by size category of the true lesion ({category_unit(kind, grid)}; {what})",
            "A mean over few subjects says little.",
        )
    if compared is not None and len(compared):
        made["published"] = table(
            _compared(compared),
            "Against the original's published figures",
            note="rounded, truncated: how the stated figure came of the one found. Its sd of a fold is the sample one, "
            "over slices; its sd of the fusion is the population one, over subjects.",
        )
    return {name: one for name, one in made.items() if one.rows}


def _table(frame: pd.DataFrame, caption: str, note: str = "") -> Table:
    """Four decimals, as the original's tables have; one for voxels."""
    digits = {str(name): 1 if "olume" in str(name) else 4 for name in frame}
    return table(frame, caption, digits, note)


def notes(
    evaluation: Evaluation, compared: pd.DataFrame | None = None, expected: Sequence[str] | None = None
) -> list[str]:
    """What a reader must know beside the tables, a sentence or two each.

    Args:
        evaluation: Of `lesions.evaluation.evaluate`.
        compared: Of `lesions.published.compare`, where the rows are to be held against the original.
        expected: Subjects that should be there.
    """
    rows = evaluation.rows
    made = [
        "2-D scores of slices: not to be compared or averaged with 3-D scores. A slice without lesion that stays empty "
        "scores 1, so read the mean beside its floor, that of a prediction without any voxel."
        if evaluation.unit == "slices"
        else "3-D scores of whole subjects: not to be compared or averaged with scores of slices."
    ]
    if evaluation.exact == len(rows):
        made.append(
            f"TP, FP and FN of all {len(rows):,} rows are whole numbers that give their scores again."
        )
    else:
        made.append(
            f"{len(rows) - evaluation.exact:,} of {len(rows):,} rows have scores that no whole TP, FP, FN give, "
            "or more than one: their plain scores are left out, and pooled scores are without them."
        )
    if evaluation.several_folds:
        count = len(evaluation.several_folds)
        made.append(f"{count:,} of {rows['subject'].nunique():,} subjects are in more than one fold.")
    if evaluation.unit == "slices" and evaluation.plane is None:
        made.append("No size categories: neither the files nor --plane say which plane this is.")
    if expected is not None:
        made += _left_out(rows, expected)
    if compared is not None and len(compared):
        made += _deviations(compared)
        made += [f"Of the original: {text}." for text in published.remarks(evaluation.unit, evaluation.plane)]
    return made


def as_page(title: str, made: dict[str, Table], said: Sequence[str], markdown: bool = False) -> str:
    """Tables and notes as one text, for the terminal or in Markdown; ends with a line end."""
    parts = [f"# {title}" if markdown else title]
    for one in made.values():
        text = f"{one.caption}\n\n{as_text(one)}" + (f"\n\n{one.note}" if one.note else "")
        parts.append(as_markdown(one) if markdown else text)
    parts.append("\n".join(f"- {sentence}" for sentence in said))
    return "\n\n".join(parts) + "\n"


def _compared(compared: pd.DataFrame) -> pd.DataFrame:
    """Found and difference with two digits more than the stated figure has."""
    digits = [len(text.partition(".")[2]) + 2 for text in compared["stated"]]
    found = [f"{value:.{n - 1}f}" for value, n in zip(compared["found"], digits, strict=True)]
    apart = [f"{value:+.{n - 1}f}" for value, n in zip(compared["difference"], digits, strict=True)]
    return compared.assign(found=found, difference=apart).rename(columns=str.capitalize)


def _folds(evaluation: Evaluation) -> pd.DataFrame:
    """The fold table with the mean and spread over the folds below it."""
    counted = [name for name in ("n", "lesion_slices", "subjects") if name in evaluation.folds]
    frame = evaluation.folds.astype(dict.fromkeys(counted, "Int64"))
    if len(evaluation.over_folds):
        over = evaluation.over_folds.rename(columns={"statistic": "fold"})
        over["fold"] = [f"{text} of {n} folds" for text, n in zip(over["fold"], over["folds"], strict=True)]
        frame = pd.concat([frame, over.drop(columns=["folds", *counted])])
    names = {
        "fold": "Fold",
        "prediction": "Prediction",
        "lesion_slices": "With lesion",
        "subjects": "Subjects",
        "lesion_dice_smoothed": "Dice, lesion slices",
        "lesion_dice": "the same, plain",
        "floor": "Floor",
    }
    names |= {f"{name}_sd": f"{NAMES[name]} sd" for name in (*SMOOTHED, "volume_difference")}
    return frame.rename(columns={**NAMES, **names})


def _folds_note(evaluation: Evaluation) -> str:
    over = "; in the last rows: sample, over folds" if len(evaluation.over_folds) else ""
    text = f"{_SD[evaluation.unit]}{over}. Scores are smoothed by 1"
    if evaluation.unit == "subjects":
        return f"{text}; volume difference in voxels."
    return f"{text}, plain: not. Floor: Dice of a prediction without any voxel."


def _summary(evaluation: Evaluation) -> pd.DataFrame:
    frame = evaluation.summary
    rows = [
        f"{evaluation.unit}, {which}" if evaluation.unit == "slices" else which for which in frame["which"]
    ]
    made = pd.DataFrame({"Rows": rows, "Score": [NAMES[name] for name in frame["score"]]})
    if "prediction" in frame:
        made.insert(0, "Prediction", frame["prediction"])
    return made.assign(**{label: frame[name] for name, label in _FIGURES.items()})


def _categories(evaluation: Evaluation, kind: str, grid: Grid | None) -> pd.DataFrame:
    frame = evaluation.categories[evaluation.categories["score"] == "dice_smoothed"]
    names = ["no lesion", *category_names(kind, grid)]
    made = pd.DataFrame({"Size category": [names[k] for k in frame["size_category"]]}, index=frame.index)
    if "prediction" in frame:
        made.insert(0, "Prediction", frame["prediction"])
    made["Subjects"] = frame["subjects"]
    return made.assign(**{label: frame[name] for name, label in _FIGURES.items() if name != "left_out"})


def _left_out(rows: pd.DataFrame, expected: Sequence[str]) -> list[str]:
    missing, strangers, means = missing_subjects(rows, expected)
    made = []
    if missing:
        made.append(
            f"{len(missing)} of {len(set(expected))} expected subjects are missing: {', '.join(missing)}."
        )
    else:
        made.append(f"All {len(set(expected))} expected subjects are there.")
    if missing and len(means):
        texts = ", ".join(f"{NAMES[row.score]} {row.mean:.3f}" for row in means.itertuples())
        made.append(f"Means over all {len(set(expected))} expected subjects, a missing one as 0: {texts}.")
    if strangers:
        made.append(f"{len(strangers)} subjects were not expected: {', '.join(strangers)}.")
    return made


def _deviations(compared: pd.DataFrame) -> list[str]:
    off = compared[compared["verdict"] != "rounded"]
    made = [
        f"{len(compared) - len(off)} of {len(compared)} figures of the original follow from these rows by rounding."
    ]
    for row in off.itertuples():
        found = f"these rows give {row.found:.5f}: {row.verdict}"
        made.append(f"{row.source[0].upper()}{row.source[1:]} states {row.stated} as {row.figure}; {found}.")
    return made
