"""The best fold by the rule that is set, or the mean of all; and what is written of the choice."""

import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components import artifacts
from components.baseline import VALIDATION
from components.fold_selector import Executor, choose, read_counts, read_selection
from components.slice_evaluator import SLICES, SUBJECTS, SUMMARY, subject_scores, summarize
from lesions.files import write_csv
from lesions.grid import template_grid
from lesions.provenance import read_card
from lesions.slices import slice_shape
from lesions.summaries import PUBLISHED, protocols
from serving.predictor import SavedModelPredictor, folder_digest
from tests.serving.conftest import ASYMMETRIC, make_card, save_model
from trainer.job import HISTORY

SKILL, SHARE = {1: 0.5, 2: 0.8, 3: 0.7}, {1: 0.2, 2: 0.5, 3: 0.9}


def artifact(kind, folder):
    made = kind()
    made.uri = str(folder)
    return [made]


@pytest.fixture
def select(tmp_path, counts):
    """A function that lets the executor choose among three folds; gives the model's and the selection's folder."""
    inputs = {}
    for fold, skill in SKILL.items():
        table = counts(fold=fold, skill=skill)
        table["published"] = table.index.isin(protocols(table, 0)[PUBLISHED].index).astype(int)
        subjects = subject_scores(table, template_grid(1.0))
        for name, frame in ((SLICES, table), (SUBJECTS, subjects), (SUMMARY, summarize(table, subjects, 0))):
            write_csv(tmp_path / f"evaluation_{fold}" / name, frame)
        model = tmp_path / f"model_{fold}"
        save_model(model / "Format-Serving", "axial", share=SHARE[fold])
        make_card("axial", fold=fold).write(model / "Format-Serving")
        (model / "Format-Serving" / HISTORY).write_text("epoch,val_loss\n1,0.5\n")
        inputs[f"model_{fold}"] = artifact(standard_artifacts.Model, model)
        inputs[f"evaluation_{fold}"] = artifact(
            standard_artifacts.ModelEvaluation, tmp_path / f"evaluation_{fold}"
        )

    def run(rule="mean", ensemble="best"):
        folders = [tmp_path / f"{kind}_{rule}_{ensemble}" for kind in ("chosen", "selection")]
        outputs = dict(
            zip(
                ("model", "selection"),
                map(artifact, (standard_artifacts.Model, artifacts.Selection), folders),
                strict=True,
            )
        )
        Executor().Do(inputs, outputs, {"plane": "axial", "rule": rule, "ensemble": ensemble})
        return folders[0] / "Format-Serving", folders[1]

    return run


def predict(model):
    slices = np.random.default_rng(1).uniform(1, 900, (20, *slice_shape(ASYMMETRIC.shape, "axial")))
    return SavedModelPredictor({"axial": model}).predict("axial", slices.astype(np.float32))


def test_the_chosen_fold_s_model_goes_on_with_its_validation_counts(select, tmp_path):
    model, selection = select()
    content = read_selection(selection)
    assert (content["fold"], content["members"], content["ensemble"]) == (2, [2], "best")
    assert content["fold_map"] == "f"
    assert content["sha256"] == folder_digest(model)
    assert "mean of Dice, recall and precision" in content["rule"]
    np.testing.assert_array_equal(predict(model), predict(tmp_path / "model_2/Format-Serving"))
    carried = pd.read_parquet(model / VALIDATION)
    assert set(carried["fold"]) == {2}
    pd.testing.assert_frame_equal(
        carried.drop(columns="fold"), pd.read_csv(tmp_path / "evaluation_2" / SLICES), check_dtype=False
    )
    assert set(read_counts(selection)["fold"]) == {1, 2, 3}
    assert len(list(selection.glob("history_fold_*.csv"))) == 3


def test_each_rule_scores_what_it_says(select):
    for rule in ("mean", "lesion_dice", "dice_3d"):
        _, selection = select(rule)
        table = pd.read_csv(selection / "folds.csv")
        assert table["score"].tolist() == table[rule].tolist()
        assert json.loads((selection / "selection.json").read_text())["rule"].startswith("highest mean")
        means = [pd.read_csv(selection / f"fold_{k}" / SUMMARY).set_index("metric") for k in table["fold"]]
        column = {"lesion_dice": "lesion_mean", "dice_3d": "subjects_mean"}.get(rule)
        if column:
            assert table[rule].tolist() == pytest.approx([m.loc["dice", column] for m in means])
        else:
            assert table["mean"].tolist() == pytest.approx([m["published_mean"].mean() for m in means])


@pytest.mark.parametrize(
    ("scores", "best"), [([0.5, 0.7, 0.6], 2), ([0.7, 0.7, 0.6], 1), ([0.1, float("nan"), 0.2], 3)]
)
def test_the_highest_score_wins_and_ties_go_to_the_lower_fold(scores, best):
    assert choose(pd.DataFrame({"fold": [1, 2, 3], "score": scores})) == best


def test_all_folds_are_averaged_in_one_model(select, tmp_path):
    model, selection = select(ensemble="all")
    single = [predict(tmp_path / f"model_{k}/Format-Serving") for k in SKILL]
    np.testing.assert_allclose(predict(model), np.mean(single, axis=0), atol=1e-6)
    assert np.ptp([answer.mean() for answer in single]) > 0.1
    assert read_selection(selection)["members"] == [1, 2, 3]
    assert set(pd.read_parquet(model / VALIDATION)["fold"]) == {1, 2, 3}
    card = read_card(model)
    assert (card.fold, card.members, card.subjects, card.validation_subjects) == (0, (1, 2, 3), 24, 0)
    assert card.parameters == 9
    # It stands alone: the folds' own models may go.
    for fold in SKILL:
        (tmp_path / f"model_{fold}").rename(tmp_path / f"gone_{fold}")
    assert tf.saved_model.contains_saved_model(str(model))
    assert predict(model).shape == single[0].shape
