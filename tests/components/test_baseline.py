"""A model is compared with the released one only on slices that neither was trained on, and never runs again."""

import json

import pandas as pd
import pytest

from components import blesser
from components.baseline import VALIDATION, compare, lesion_dice
from components.blesser import Blesser, released_gates, slice_gates
from lesions.files import write_table
from serving.releases import newest_release, publish
from tests.serving.conftest import make_card


@pytest.fixture
def selection():
    return {"plane": "axial", "members": [1], "fold_map": "f", "sha256": "new"}


@pytest.fixture
def released(tmp_path, counts):
    """A function that releases an axial model with its validation counts; gives the folder of models."""

    def make(fold=1, **options):
        folder = tmp_path / "serving_models"
        model = folder / "axial" / "7"
        make_card("axial").write(model)  # of fold map "f"
        counts(fold=fold, **options).assign(fold=fold).to_parquet(model / VALIDATION)
        publish({"models": {"axial": {"version": 7, "sha256": "old"}}}, folder / "releases")
        return folder

    return make


def run(selection, counts, models):
    return compare("axial", selection, counts, newest_release(models), models)


def test_equal_folds_are_compared_on_the_same_lesion_slices(released, selection, counts):
    models = released(skill=0.7)
    ours, theirs = counts(skill=0.9), counts(skill=0.7)
    found = run(selection, ours.assign(fold=1), models)
    assert found.reason == ""
    assert (found.version, found.folds, found.left_out) == (7, "1", 0)
    assert found.slices == (ours["lesion_voxels"] > 0).sum()
    assert found.released == pytest.approx(lesion_dice(theirs))
    assert found.candidate == pytest.approx(lesion_dice(ours))
    assert found.candidate > found.released + 0.05


def test_only_the_common_fold_counts(released, selection, counts):
    models = released(fold=2)
    both = pd.concat([counts(fold=k, skill=skill).assign(fold=k) for k, skill in ((1, 0.1), (2, 0.9))])
    found = run(selection, both, models)
    assert found.folds == "2"
    assert found.candidate == pytest.approx(lesion_dice(counts(fold=2, skill=0.9)))


def test_slices_whose_truth_has_changed_are_left_out_and_counted(released, selection, counts):
    models = released()
    ours = counts().assign(fold=1)
    lesion = ours["lesion_voxels"] > 0
    ours.loc[lesion & (ours["subject"] == "sub-10"), "lesion_voxels"] += 1
    found = run(selection, ours, models)
    assert (found.slices, found.left_out) == (lesion.sum() - 13, 13)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("none", "no model of this plane"),
        ("plane", "no model of this plane"),
        ("same", "this very model"),
        ("map", "another fold map"),
        ("fold", "validated on fold 2, this run's on fold 1"),
        ("gone", "no raxnet model here"),
        ("counts", "no such table"),
        ("damaged", "not a readable table"),
    ],
)
def test_what_cannot_be_compared_is_told(tmp_path, released, selection, counts, caplog, change, said):
    caplog.set_level("INFO")
    models = tmp_path / "serving_models" if change == "none" else released(fold=2 if change == "fold" else 1)
    if change == "plane":
        publish({"models": {"coronal": {"version": 7, "sha256": "old"}}}, models / "releases")
    if change == "same":
        selection["sha256"] = "old"
    if change == "map":
        selection["fold_map"] = "another"
    if change == "gone":
        (models / "axial/7/assets.extra/raxnet.json").unlink()
    if change == "counts":
        (models / "axial/7" / VALIDATION).unlink()
    if change == "damaged":
        (models / "axial/7" / VALIDATION).write_bytes(b"PAR1")
    found = run(selection, counts().assign(fold=1), models)
    assert said in found.reason
    assert said in caplog.text
    assert released_gates(found, 0.0) == []


@pytest.mark.parametrize(
    ("skill", "drop", "passes"), [(0.9, 0.0, True), (0.5, 0.01, False), (0.5, 0.5, True)]
)
def test_a_model_may_fall_behind_the_released_one_so_far_and_no_further(
    released, selection, counts, skill, drop, passes
):
    found = run(selection, counts(skill=skill).assign(fold=1), released(skill=0.7))
    (gate,) = released_gates(found, drop)
    assert gate.passed is passes
    assert gate.threshold == pytest.approx(found.released - drop)


def test_each_model_that_goes_on_has_a_gate_of_its_own_fold(selection, counts):
    both = pd.concat([counts(fold=k, skill=skill).assign(fold=k) for k, skill in ((1, 0.3), (2, 0.9))])
    assert [gate.passed for gate in slice_gates(selection, both, 0.8)] == [False]
    all_of_them = slice_gates(selection | {"members": [1, 2]}, both, 0.8)
    assert [gate.passed for gate in all_of_them] == [False, True]
    assert [gate.gate for gate in all_of_them] == [
        f"axial, fold {k}: mean Dice of lesion slices" for k in (1, 2)
    ]


@pytest.fixture
def bless(tmp_path, selection, counts, artifact, released):
    """A function that runs the component; gives the blessing artifact."""
    kept = tmp_path / "selection"
    (kept / "fold_1").mkdir(parents=True)
    (kept / "selection.json").write_text(json.dumps(selection))
    write_table(kept / "fold_1/slices", counts(skill=0.7))
    write_table(
        tmp_path / "fused/holdout", pd.DataFrame({"prediction": ["axial", "fused"], "dice": [0.9, 0.5]})
    )
    models = released(skill=0.7)

    def run(number=0, slice_dice=0.3, fused_dice=0.4, drop=0.01):
        blessing = artifact(tmp_path / f"blessing_{number}")
        Blesser.EXECUTOR_SPEC.executor_class._FUNCTION(
            artifact(tmp_path / "fused"),
            blessing,
            slice_dice,
            fused_dice,
            drop,
            str(models),
            "code",
            artifact(kept),
        )
        return blessing, pd.read_csv(tmp_path / f"blessing_{number}" / blesser.GATES)

    return run


def test_all_gates_passed_is_blessed(bless, tmp_path):
    blessing, gates = bless()
    assert blessing.properties["blessed"] == 1
    assert len(gates) == 3
    assert gates["passed"].all()
    compared = pd.read_csv(tmp_path / "blessing_0" / blesser.RELEASED)
    assert compared["slices"].tolist() == [65]


@pytest.mark.parametrize(
    ("options", "short"),
    [
        ({"slice_dice": 0.95}, "mean Dice of lesion slices"),
        ({"fused_dice": 0.55}, "hold-out: mean 3-D Dice, fused, n = 1"),
    ],
)
def test_one_gate_missed_is_told_with_how_much(bless, caplog, options, short):
    blessing, gates = bless(**options)
    assert blessing.properties["blessed"] == 0
    (failed,) = gates[~gates["passed"]].itertuples()
    assert short in failed.gate
    assert f"{failed.threshold - failed.value:.3f} below the gate of {failed.threshold:.3f}" in caplog.text
