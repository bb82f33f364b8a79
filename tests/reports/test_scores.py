"""Tables of the hold-out hold the figures of the tables that they are made of, each with n and spread."""

import numpy as np
import pandas as pd
import pytest

from lesions.grid import template_grid
from lesions.summaries import summary, with_category
from reports import scores

SCORES = ("dice", "recall", "hd95")


@pytest.fixture
def holdout():
    rows = [
        ("a", "axial", 10, 0.1, 0.2, 5.0),
        ("a", "fused", 10, 0.3, 0.4, np.nan),
        ("b", "axial", 6000, 0.6, 0.7, 9.0),
        ("b", "fused", 6000, 0.8, 0.9, 2.0),
        ("c", "axial", 7000, 0.7, 0.7, 9.0),
        ("c", "fused", 7000, 0.9, 0.9, 3.0),
    ]
    frame = pd.DataFrame(rows, columns=["subject", "prediction", "lesion_voxels", *SCORES])
    return with_category(frame, "3d")


def test_dice_by_prediction_has_n_interval_and_spread(holdout):
    found = scores.dice_by_prediction(summary(holdout, SCORES, ["prediction"], resamples=100))
    assert found["Prediction"].tolist() == ["axial", "fused"]
    fused = found.iloc[1]
    assert fused["n"] == 3
    assert fused["Mean"] == pytest.approx(2 / 3)
    assert fused["sd"] == pytest.approx(np.std([0.3, 0.8, 0.9]))
    assert fused["Median"] == 0.8
    assert " to " in fused["95 % interval"]


def test_all_scores_are_told_apart_by_unit_and_say_whom_they_leave_out(holdout):
    table = summary(holdout, SCORES, ["prediction"], resamples=100)
    shares = scores.all_scores(table, "fused", measures=False)
    assert shares["Score"].tolist() == ["Dice", "Recall"]
    (distance,) = scores.all_scores(table, "fused", measures=True).to_dict("records")
    assert (distance["Score"], distance["n"], distance["Left out"]) == ("95 % Hausdorff distance, mm", 2, 1)
    assert distance["Mean"] == 2.5


def test_a_category_of_one_subject_has_no_spread_and_no_interval(holdout):
    table = summary(holdout, SCORES, ["prediction", "size_category"], resamples=100)
    found = scores.dice_by_category(table, None).set_index("Size category")
    assert found["n"].to_dict() == {"0 to 5,000": 1, "5,000 to 30,000": 2}
    assert np.isnan(found.loc["0 to 5,000", "sd"])
    assert found.loc["0 to 5,000", "95 % interval"] == "-"
    assert found.loc["5,000 to 30,000", "Mean Dice"] == pytest.approx(0.85)
    assert found.loc["5,000 to 30,000", "Dice, axial"] == pytest.approx(0.65)
    assert scores.dice_by_category(table.head(0), template_grid(1.0)).empty


def test_every_subject_is_a_row_largest_lesion_first(holdout):
    apart = pd.DataFrame({"subject": ["a", "b", "c"], "plane_disagreement": [0.9, 0.2, 0.1]})
    found = scores.per_subject(holdout, apart)
    assert found["subject"].tolist() == ["c", "b", "a"]
    assert found["Dice, axial"].tolist() == [0.7, 0.6, 0.1]
    assert found["Dice, fused"].tolist() == [0.9, 0.8, 0.3]
    assert found["Disagreement"].tolist() == [0.1, 0.2, 0.9]
    assert "Disagreement" not in scores.per_subject(holdout, apart.assign(plane_disagreement=None))


def test_one_plane_alone_is_shown_as_it_is(holdout):
    axial = holdout[holdout["prediction"] == "axial"]
    found = scores.per_subject(axial, pd.DataFrame())
    assert found.columns.tolist() == ["subject", "Lesion, voxels", "Dice, axial", "Recall", "HD95, mm"]
    table = summary(axial, SCORES, ["prediction", "size_category"], resamples=100)
    assert "Dice, axial" not in scores.dice_by_category(table, None)
