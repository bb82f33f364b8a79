"""The table of a cross-validation: every fold has a row, means and spread are over those that have scores."""

import numpy as np
import pandas as pd

from reports.cross_validation import SCORES, table_of

DICE = [0.5, 0.6, 0.85]


def rows(**columns):
    base = dict.fromkeys(SCORES, DICE)
    return pd.DataFrame({"fold": [1, 2, 3], **base, "best": [False, False, True], **columns})


def test_each_fold_then_mean_and_true_spread():
    made = table_of(rows(), "axial")
    assert [row[0] for row in made.rows] == ["1", "2", "3", "mean", "sd"]
    assert made.columns[1:5] == ("Dice", "Recall", "Precision", "Average score")
    assert [row[-1] for row in made.rows] == ["", "", "best", "", ""]
    assert made.rows[3][1] == f"{np.mean(DICE):.4f}"
    assert made.rows[4][1] == f"{np.std(DICE, ddof=1):.4f}"


def test_a_failed_fold_is_shown_and_counts_in_no_mean():
    frame = rows(failed=[None, "killed", None], best=[False, False, False])
    frame.loc[1, ["dice", "recall", "precision", "mean", "lesion_dice", "dice_3d"]] = np.nan
    made = table_of(frame, "axial")
    assert made.rows[1][1] == "-"
    assert made.rows[1][-1] == "failed: killed"
    assert made.rows[3][1] == f"{(0.5 + 0.85) / 2:.4f}"
    assert "2 folds" in made.note


def test_without_any_score_nothing_is_made_up():
    frame = pd.DataFrame({"fold": [1, 2, 3], "best": [False] * 3, "failed": ["a", "b", "c"]})
    made = table_of(frame, "axial")
    assert made.rows[3][1] == made.rows[4][1] == "-"
