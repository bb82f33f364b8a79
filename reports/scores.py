"""Tables of the hold-out's 3-D scores, from the tables that FusionEvaluator wrote."""

from __future__ import annotations

import pandas as pd

from lesions.grid import Grid
from reports import style
from reports.distributions import category_names
from reports.tables import MISSING, number

FUSED = "fused"
NAMES = {
    "dice": "Dice",
    "recall": "Recall",
    "precision": "Precision",
    "dice_smoothed": "Dice, smoothed by 1",
    "recall_smoothed": "Recall, smoothed by 1",
    "precision_smoothed": "Precision, smoothed by 1",
    "volume_difference": "Volume difference, voxels",
    "volume_difference_ml": "Volume difference, mL",
    "lesion_count_difference": "Lesion count difference",
    "lesion_f1": "Lesion-wise F1",
    "hd95": "95 % Hausdorff distance, mm",
    "assd": "Average surface distance, mm",
    "surface_dice": "Surface Dice at 1 mm",
}
MEASURES = (
    "volume_difference",
    "volume_difference_ml",
    "lesion_count_difference",
    "hd95",
    "assd",
)  # with units
_PER_SUBJECT = {"recall": "Recall", "precision": "Precision", "lesion_f1": "Lesion F1", "hd95": "HD95, mm"}


def predictions(frame: pd.DataFrame) -> list[str]:
    """The predictions in a table: planes in their usual order, fused last."""
    found = set(frame["prediction"]) if len(frame) else set()
    return [name for name in style.PREDICTIONS if name in found]


def of_score(scores: pd.DataFrame, score: str) -> pd.DataFrame:
    """The rows of one score, by prediction."""
    return scores[scores["score"] == score].set_index("prediction")


def interval(row: pd.Series, low: str = "ci_low", high: str = "ci_high", digits: int = 3) -> str:
    """An interval for a reader: "0.512 to 0.634"; "-" where there is none."""
    if pd.isna(row[low]) or pd.isna(row[high]):
        return MISSING
    return f"{number(float(row[low]), digits)} to {number(float(row[high]), digits)}"


def spread(row: pd.Series, digits: int = 3) -> dict[str, object]:
    """n, mean, interval, sd, median and quartiles of a summary's row, named for a reader; one value has no sd."""
    return {
        "n": int(row["n"]),
        "Mean": row["mean"],
        "95 % interval": interval(row, digits=digits),
        "sd": row["sd_population"] if row["n"] > 1 else float("nan"),
        "Median": row["median"],
        "q1": row["q1"],
        "q3": row["q3"],
    }


def dice_by_prediction(scores: pd.DataFrame) -> pd.DataFrame:
    """3-D Dice: a row per prediction."""
    dice = of_score(scores, "dice")
    return pd.DataFrame([{"Prediction": name, **spread(dice.loc[name])} for name in predictions(scores)])


def all_scores(scores: pd.DataFrame, prediction: str, measures: bool) -> pd.DataFrame:
    """Every 3-D score of one prediction: a row each, with how many subjects have no value.

    Args:
        scores: Of `RunReport`.
        prediction: A plane or "fused".
        measures: True: those with a unit; False: those from 0 to 1.
    """
    rows = scores[(scores["prediction"] == prediction) & (scores["score"].isin(MEASURES) == measures)]
    made = []
    for _, row in rows.iterrows():
        figures = spread(row, 1 if measures else 3)
        made.append(
            {
                "Score": NAMES.get(row["score"], row["score"]),
                "n": figures.pop("n"),
                "Left out": int(row["left_out"]),
                **figures,
            }
        )
    return pd.DataFrame(made)


def dice_by_category(by_category: pd.DataFrame, grid: Grid | None) -> pd.DataFrame:
    """Fused Dice, recall, precision and lesion-wise F1 by size category, and each plane's Dice: a row per category."""
    if by_category.empty:
        return pd.DataFrame()
    names = ["no lesion", *category_names("3d", grid)]
    found = predictions(by_category)
    shown = FUSED if FUSED in found else found[-1]
    made = []
    for category, rows in by_category.groupby("size_category"):
        own = rows[rows["prediction"] == shown].set_index("score")
        row = {"Size category": names[int(str(category))], **spread(own.loc["dice"])}
        row["Mean Dice"] = row.pop("Mean")
        row = {key: row[key] for key in ("Size category", "n", "Mean Dice", "95 % interval", "sd", "Median")}
        row |= {NAMES[s]: own.loc[s, "mean"] for s in ("recall", "precision", "lesion_f1") if s in own.index}
        dice = of_score(rows, "dice")["mean"]
        row |= {f"Dice, {name}": dice[name] for name in found if name != shown}
        made.append(row)
    return pd.DataFrame(made)


def per_subject(holdout: pd.DataFrame, uncertainty: pd.DataFrame) -> pd.DataFrame:
    """Every hold-out subject, largest lesion first: volumes, Dice of every prediction, the fused mask's scores."""
    found = predictions(holdout)
    shown = FUSED if FUSED in found else found[-1]
    own = holdout[holdout["prediction"] == shown].set_index("subject")
    made = pd.DataFrame(index=own.sort_values("lesion_voxels", ascending=False, kind="stable").index)
    volumes = {"lesion_ml": "Lesion, mL", "predicted_ml": "Predicted, mL"}
    for column, label in (volumes if "lesion_ml" in own else {"lesion_voxels": "Lesion, voxels"}).items():
        made[label] = own[column]
    for name in found:
        one = holdout[holdout["prediction"] == name].set_index("subject")
        made[f"Dice, {name}"] = one["dice"]
    for column, label in _PER_SUBJECT.items():
        if column in own:
            made[label] = own[column]
    if len(uncertainty) and uncertainty["plane_disagreement"].notna().any():
        made["Disagreement"] = uncertainty.set_index("subject")["plane_disagreement"]
    return made.reset_index()
