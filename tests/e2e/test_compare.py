"""Comparisons end to end: trained once, on the same slices, and shared with a run."""

import pandas as pd
import pytest

from lesions.significance import wilcoxon
from tests.conftest import SMALLEST_PARAMETERS
from tests.e2e.conftest import TRAINING, executed, raxnet, run, write_config

pytestmark = pytest.mark.slow
SHORT = TRAINING | {"epochs": 1}
LOSSES = ["focal_tversky", "dice"]


@pytest.fixture(scope="module")
def compared(phantom, tmp_path_factory):
    """Two losses on two folds: the configuration, its root and what the command printed."""
    folder = tmp_path_factory.mktemp("compare")
    changes = {"train_folds": [1, 2], "training": SHORT, "compare": {"losses": LOSSES}}
    config = write_config(folder / "run.yaml", phantom, folder / "root", **changes)
    done = raxnet("compare", "losses", config)
    assert done.returncode == 0, done.stderr
    return config, folder / "root", done


def test_every_variant_is_scored_on_the_same_slices_of_every_fold(compared):
    _, root, _ = compared
    slices = pd.read_csv(root / "compare/losses/slices.csv")
    folds = pd.read_csv(max(root.glob("artifacts/FoldGen/fold_map/*/folds.csv"))).set_index("subject")["fold"]
    keys = ["subject", "slice", "lesion_voxels", "fold", "published"]
    of = [rows[keys].reset_index(drop=True) for _, rows in slices.groupby("variant")]
    pd.testing.assert_frame_equal(*of)
    assert (slices["fold"] == slices["subject"].map(folds)).all()
    assert set(slices["fold"]) == {1, 2}


def test_tables_follow_from_the_counts(compared):
    _, root, done = compared
    out = root / "compare/losses"
    slices, scores = pd.read_csv(out / "slices.csv"), pd.read_csv(out / "scores.csv").set_index("variant")
    subjects = pd.read_csv(out / "subjects.csv")
    for name, rows in slices.groupby("variant"):
        lesion = rows[rows["lesion_voxels"] > 0]
        dice = 2 * lesion["tp"] / (2 * lesion["tp"] + lesion["fp"] + lesion["fn"])
        assert scores.loc[name, "lesion_dice_mean"] == pytest.approx(dice.mean())
        shown = rows[rows["published"] == 1]
        floor = (1 / (shown["lesion_voxels"] + 1)).mean()
        assert scores.loc[name, "published_dice_floor"] == pytest.approx(floor)
        summed = rows.groupby("subject")[["tp", "fp", "fn"]].sum()
        volume = 2 * summed["tp"] / (2 * summed["tp"] + summed["fp"] + summed["fn"])
        mine = subjects[subjects["variant"] == name].set_index("subject")["dice"]
        pd.testing.assert_series_equal(mine.sort_index(), volume.sort_index(), check_names=False)
    wide = subjects.pivot_table(index="subject", columns="variant", values="dice")
    (test,) = pd.read_csv(out / "significance.csv").itertuples()
    assert test.p == pytest.approx(wilcoxon((wide[test.first] - wide[test.second]).to_numpy()))
    text = (out / "tables.md").read_text()
    assert text in done.stdout
    assert "Phantom figures" in text
    for name in ("dice.png", "curves.png"):
        assert (out / name).stat().st_size > 5_000


def test_costs_are_the_trainings_own(compared):
    _, root, _ = compared
    costs = pd.read_csv(root / "compare/losses/costs.csv")
    assert costs[["variant", "fold"]].values.tolist() == [[name, fold] for name in LOSSES for fold in (1, 2)]
    assert set(costs["parameters"]) == {SMALLEST_PARAMETERS}
    assert (costs["seconds_to_best"] <= costs["seconds"]).all()
    assert (costs["seconds_per_slice"] > 0).all()


def test_a_second_comparison_trains_and_evaluates_nothing(compared):
    config, root, first = compared
    before = {path: path.stat().st_mtime_ns for path in root.glob("compare/evaluations/**/*.csv")}
    again = raxnet("compare", "losses", config)
    assert again.stdout == first.stdout
    assert "trainings, " not in again.stderr
    assert "evaluating" not in again.stderr
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_run_adopts_the_variant_that_it_would_train(compared):
    config, root, _ = compared
    steps = executed(run(config))
    assert {"Trainer_axial_1", "Trainer_axial_2", "ReportGen"} <= steps
    log = max((root / "logs").glob("run-*.log")).read_text()
    assert "epoch 1/1" not in log
    table = pd.read_csv(root / "cross_validation.csv").set_index("fold")
    slices = pd.read_csv(root / "compare/losses/slices.csv")
    ours = slices[(slices["variant"] == "focal_tversky") & (slices["fold"] == 1)]
    theirs = pd.read_csv(max(root.glob("artifacts/SliceEvaluator_axial_1/evaluation/*/slices.csv")))
    for name in ("tp", "fp", "fn"):
        assert ours[name].tolist() == theirs[name].tolist()
    assert table["best"].sum() == 1


def test_networks_by_their_own_recipes_and_what_they_will_take(phantom, compared):
    config, root, _ = compared
    asked = {"models": ["raxnet", "dunet"], "recipes": "published"}
    changes = {"train_folds": [1], "training": SHORT, "compare": asked}
    models = write_config(config.with_name("models.yaml"), phantom, root, **changes)
    told = raxnet("compare", "models", models, "--estimate")
    assert told.returncode == 0, told.stderr
    assert not (root / "compare/models").exists()
    for name in ("raxnet, own recipe", "dunet, own recipe"):
        assert f"\n{name} " in told.stdout
    done = raxnet("compare", "models", models)
    assert done.returncode == 0, done.stderr
    costs = pd.read_csv(root / "compare/models/costs.csv").set_index("variant")
    assert set(costs.index) == {"raxnet, own recipe", "dunet, own recipe"}
    assert costs.loc["dunet, own recipe", "parameters"] == 8_640_163
    assert costs.loc["dunet, own recipe", "gflops"] > 3 * costs.loc["raxnet, own recipe", "gflops"]


def test_an_unknown_loss_is_told_before_anything_is_done(phantom, tmp_path):
    changes = {"compare": {"losses": ["dice", "dise"]}}
    config = write_config(tmp_path / "run.yaml", phantom, tmp_path / "root", **changes)
    done = raxnet("compare", "losses", config)
    assert done.returncode == 2
    assert "training.loss: 'dise' is not among" in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "root").exists()
