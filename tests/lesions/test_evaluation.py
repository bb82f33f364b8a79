import numpy as np
import pandas as pd
import pytest

from lesions import published
from lesions.evaluation import evaluate, missing_subjects
from lesions.score_files import read_score_files


def fold(path, rows, columns="subject,slice,tp,fp,fn"):
    path.write_text(columns + "\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n")
    return path


@pytest.fixture
def two(tmp_path):
    one = fold(tmp_path / "axial_fold_1.csv", [("a", 0, 3, 1, 1), ("a", 1, 0, 0, 4), ("b", 0, 0, 0, 0)])
    other = fold(tmp_path / "axial_fold_2.csv", [("b", 1, 0, 9, 0), ("c", 5, 250, 0, 0)])
    return read_score_files([one, other])


def test_figures_by_hand(two):
    made = evaluate(two, "axial")
    first, second = [7 / 9, 1 / 5, 1.0], [1 / 10, 1.0]
    folds = made.folds.set_index("fold")
    assert folds["n"].tolist() == [3, 2]
    assert folds["lesion_slices"].tolist() == [2, 1]
    assert folds["subjects"].tolist() == [2, 2]
    assert folds["dice_smoothed"].tolist() == pytest.approx([np.mean(first), np.mean(second)])
    assert folds["dice_smoothed_sd"].tolist() == pytest.approx(
        [np.std(first, ddof=1), np.std(second, ddof=1)]
    )
    assert folds["lesion_dice_smoothed"].tolist() == pytest.approx([np.mean(first[:2]), 1])
    assert folds["lesion_dice"].tolist() == pytest.approx([0.375, 1])
    assert folds["floor"].tolist() == pytest.approx([(1 / 5 + 1 / 5 + 1) / 3, (1 + 1 / 251) / 2])
    over = made.over_folds.set_index("statistic")["dice_smoothed"]
    assert over["mean"] == pytest.approx((np.mean(first) + np.mean(second)) / 2)
    assert over["sd (sample)"] == pytest.approx(abs(np.mean(first) - np.mean(second)) / np.sqrt(2))
    assert made.several_folds == ["b"]
    assert made.exact == 5
    assert made.pooled[["tp", "fp", "fn"]].iloc[0].tolist() == [253, 10, 5]
    sized = made.categories[made.categories["score"] == "dice"].set_index("size_category")
    assert sized["n"].to_dict() == {0: 2, 1: 2, 2: 1}
    assert sized.loc[1, "mean"] == pytest.approx(0.375)
    which = made.summary.set_index(["which", "score"])
    assert which.loc[("lesion", "dice"), "n"] == 3
    assert which.loc[("all", "dice_smoothed"), "mean"] == pytest.approx(np.mean(first + second))


def test_one_fold_has_no_spread_over_folds_and_no_plane_no_categories(two):
    made = evaluate(two[:1])
    assert made.over_folds.empty
    assert made.categories.empty


def test_predictions_are_never_mixed(tmp_path):
    rows = [
        ("a", "axial", 1, 2, 3),
        ("a", "fused", 2, 2, 2),
        ("b", "axial", 0, 0, 5),
        ("b", "fused", 5, 0, 0),
    ]
    made = evaluate(read_score_files([fold(tmp_path / "h.csv", rows, "subject,prediction,tp,fp,fn")]))
    assert made.folds.set_index("prediction")["n"].to_dict() == {"axial": 2, "fused": 2}
    dice = made.summary[made.summary["score"] == "dice"].set_index("prediction")["mean"]
    assert dice.to_dict() == pytest.approx({"axial": 2 / 7 / 2, "fused": (0.5 + 1) / 2})
    assert missing_subjects(made.rows, ["a"])[1] == ["b"]


def test_missing_subjects_count_as_0(tmp_path):
    rows = [("a", 0.5, 0.4, 0.6, 3), ("b", 1.0, 1.0, 1.0, 0)]
    path = fold(tmp_path / "f.csv", rows, "subject,dice,precision,recall,volume_difference")
    made = evaluate(read_score_files([path]))
    missing, strangers, means = missing_subjects(made.rows, ["a", "c", "d", "a"])
    assert (missing, strangers) == (["c", "d"], ["b"])
    assert means.set_index("score")["mean"].to_dict() == pytest.approx(
        {"dice_smoothed": 0.5 / 3, "precision_smoothed": 0.4 / 3, "recall_smoothed": 0.6 / 3}
    )


@pytest.mark.parametrize(
    ("text", "found", "verdict"),
    [
        ("0.7104", 0.71046, "truncated"),
        ("0.7105", 0.71046, "rounded"),
        ("0.7106", 0.71052, "within one unit of its last digit"),
        ("0.7100", 0.71046, "deviates"),
        ("6489.6", 6489.589, "rounded"),
        ("112", 112.0, "rounded"),
    ],
)
def test_verdicts(text, found, verdict):
    assert published.verdict(text, found) == verdict


def test_nothing_is_held_against_the_original_that_it_did_not_state(two):
    assert published.compare(evaluate(two)).empty
    compared = published.compare(evaluate(two, "axial"))
    assert {text[-6:] for text in compared["figure"]} == {"fold 1"}
    assert published.compare(evaluate(two, "coronal")).empty


def test_other_planes_are_held_against_their_own_figures(tmp_path):
    for k in range(1, 6):
        rows = [("a", 0, 10, 0.6, 0.5, 6 / 11), (f"b{k}", 1, 0, 1, 1, 1)]
        fold(tmp_path / f"x_Coronal_fold_{k}.csv", rows, "subject,slice,lesion_voxels,dice,precision,recall")
    files = read_score_files(sorted(tmp_path.glob("*.csv")))
    compared = published.compare(evaluate(files, files[0].plane)).set_index("figure")
    assert compared["stated"].tolist() == ["0.6876", "0.7549", "0.8319", "0.459", "0.5125"]
    assert compared.loc["mean dice over five folds", ["found", "verdict"]].tolist() == [0.8, "deviates"]
    assert compared.loc["mean dice of lesion slices over five folds", "found"] == pytest.approx(0.6)


@pytest.fixture(scope="module")
def axial(atlas):
    return evaluate(read_score_files(sorted(atlas.glob("published_axial_fold_*.csv"))), "axial")


@pytest.mark.heavy
def test_the_published_axial_table(axial):
    """Within 0.0001 of the published figures (docs/spec/method.md#published-figures)."""
    over = axial.over_folds.set_index("statistic").loc["mean"]
    names = ["dice_smoothed", "recall_smoothed", "precision_smoothed", "lesion_dice_smoothed", "floor"]
    assert over[names].tolist() == pytest.approx([0.7105, 0.7802, 0.8306, 0.5028, 0.5119], abs=1e-4)
    first = axial.folds.set_index("fold").loc["1"]
    assert first[names[:3]].tolist() == pytest.approx([0.6878, 0.8055, 0.7714], abs=1e-4)
    assert first[[f"{name}_sd" for name in names[:3]]].tolist() == pytest.approx(
        [0.3762, 0.3292, 0.3324], abs=5e-5
    )
    assert len(axial.several_folds) == 98
    assert axial.exact == 34400


def test_the_readmes_deviation_is_found(axial):
    compared = published.compare(axial)
    off = compared[compared["verdict"] != "rounded"]
    assert off[["stated", "source", "verdict"]].to_numpy().tolist() == [["0.7104", "the README", "truncated"]]


def test_the_published_fusion_table(atlas):
    made = evaluate(read_score_files([atlas / "published_fusion_subjects.csv"]))
    row = made.folds.iloc[0]
    assert row["n"] == 112
    names = ["dice_smoothed", "precision_smoothed", "recall_smoothed"]
    assert row[names].tolist() == pytest.approx([0.6126, 0.6833, 0.6386], abs=1e-4)
    assert row[[f"{name}_sd" for name in names]].tolist() == pytest.approx([0.2578, 0.2281, 0.2964], abs=1e-4)
    assert row[["volume_difference", "volume_difference_sd"]].tolist() == pytest.approx(
        [6489.589, 9686.760], abs=1e-3
    )
    sized = made.categories[made.categories["score"] == "dice_smoothed"]
    assert sized["n"].tolist() == [44, 31, 13, 10, 9, 5]
    assert sized["mean"].tolist() == pytest.approx([0.456, 0.606, 0.748, 0.813, 0.826, 0.896], abs=5e-4)
    expected = pd.read_csv(atlas / "published_holdout_subjects.csv")["subject"].tolist()
    missing, strangers, means = missing_subjects(made.rows, expected)
    assert (len(missing), strangers) == (20, [])
    assert means.set_index("score").loc["dice_smoothed"].tolist() == pytest.approx([132, 0.520], abs=5e-4)
    assert (published.compare(made)["verdict"] == "rounded").all()
