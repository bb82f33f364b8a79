"""The pipeline end to end: all is there, nothing is done twice, nothing pushed unblessed."""

import json
import re

import filelock
import pandas as pd
import pytest

from lesions.provenance import read_card
from tests.e2e.conftest import BEHIND_GATES, cold_raxnet, executed, newest, raxnet, run, write_config

pytestmark = [pytest.mark.slow, pytest.mark.first_run]


def test_every_step_ran_and_left_what_it_should(ran):
    _, root, done = ran
    assert set(done["steps"].values()) == {"executed"}
    assert (root / "report.html").stat().st_size > 50_000
    (model,) = (root / "serving_models/axial").iterdir()
    assert (model / "saved_model.pb").is_file()
    card = read_card(model)
    assert card.phantom
    release = json.loads(next((root / "serving_models/releases").glob("*.json")).read_text())
    assert release["models"]["axial"]["version"] == int(model.name)


def test_no_subject_is_on_two_sides_and_every_subject_is_somewhere(ran):
    _, root, _ = ran
    folds = pd.read_csv(newest(root, "FoldGen/fold_map/*/folds.csv"))
    assert folds["subject"].is_unique
    assert len(folds) == 14
    for plane in ("axial", "sagittal", "coronal"):
        shards = list(root.glob(f"artifacts/NiftiExampleGen/examples_{plane}/*/Split-fold_*/*.tfrecord"))
        found = {(path.stem, int(path.parent.name.rsplit("_", 1)[1])) for path in shards}
        expected = {(row.subject, row.fold) for row in folds.itertuples() if row.fold > 0}
        assert found == expected
        assert len(shards) == len(expected)


def test_every_holdout_subject_is_scored(ran):
    _, root, _ = ran
    folds = pd.read_csv(newest(root, "FoldGen/fold_map/*/folds.csv"))
    scored = pd.read_csv(newest(root, "FusionEvaluator/evaluation/*/holdout.csv"))
    held_out = set(folds.loc[folds["fold"] == 0, "subject"])
    for _, rows in scored.groupby("prediction"):
        assert set(rows["subject"]) == held_out
    assert set(scored["prediction"]) == {"axial", "fused"}


def test_every_validation_slice_is_counted(ran):
    _, root, _ = ran
    counts = pd.read_csv(newest(root, "SliceEvaluator_axial_1/evaluation/*/slices.csv"))
    folds = pd.read_csv(newest(root, "FoldGen/fold_map/*/folds.csv"))
    tables = newest(root, "LesionStatisticsGen/tables/*/slices_axial.csv")
    slices = pd.read_csv(tables).merge(folds, on="subject")
    expected = slices[(slices["fold"] == 1) & (slices["nonzero"] > 0)]
    assert len(counts) == len(expected)
    assert (counts["tp"] + counts["fn"]).sum() == expected["lesion_voxels"].sum()


def test_tfma_and_bids_tools_find_what_they_know(ran):
    import tensorflow_model_analysis as tfma

    from serving.bids import find_scans

    _, root, _ = ran
    evaluation = newest(root, "SliceEvaluator_axial_1/evaluation/*/slices.csv").parent
    ((_, everything), *_) = tfma.load_eval_result(str(evaluation)).slicing_metrics
    rows = pd.read_csv(evaluation / "slices.csv")
    assert everything[""][""]["example_count"]["doubleValue"] == len(rows)
    derivative = newest(root, "FusionEvaluator/evaluation/*/derivative")
    held_out = pd.read_csv(derivative.parent / "files.csv")["subject"]
    assert len(pd.read_csv(derivative / "group_lesions.tsv", sep="\t")) == len(held_out)
    links = json.loads((derivative / "dataset_description.json").read_text())["DatasetLinks"]
    (data,) = {(derivative / link).resolve() for link in links.values()}
    assert {scan.subject for scan in find_scans([data])} >= set(held_out)


def test_a_second_run_does_nothing(ran):
    assert executed(run(ran[0])) == set()


def test_the_report_of_a_finished_run_can_be_written_again(ran, tmp_path):
    """The same page but for the minute in which it was written; nothing else in the root changes."""
    _, root, _ = ran
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    done = raxnet("report", root, tmp_path / "again.html")
    assert done.returncode == 0, done.stderr
    pages = [(tmp_path / "again.html").read_text(), (root / "report.html").read_text()]
    again, first = (re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "then", page) for page in pages)
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()} == before


def test_chatter_is_in_the_log_only(ran):
    config, root, _ = ran
    done = cold_raxnet("run", config)
    lines = done.stderr.strip().splitlines()
    assert lines[0].split() == ["device:", "cpu"] or "device:" in lines[0]
    assert len(lines) < 40
    assert not any("absl" in line or "apache_beam" in line or "Warning" in line for line in lines)
    log = max((root / "logs").iterdir())
    assert "absl" in log.read_text()


def test_a_raised_gate_runs_only_what_is_behind_it_and_nothing_is_pushed(ran, phantom):
    config, root, _ = ran
    before = set((root / "serving_models/axial").iterdir())
    gates = {"slice_dice": 0.99, "fused_dice": 1.0, "fold_drift": 0.5}
    done = raxnet("run", write_config(config.with_name("gate.yaml"), phantom, root, gates=gates), "--json")
    assert done.returncode == 0, done.stderr
    assert executed(json.loads(done.stdout)) == BEHIND_GATES
    assert set((root / "serving_models/axial").iterdir()) == before
    assert "below the gate of 1.000" in done.stderr
    assert "below the gate of 0.990" in done.stderr
    assert "nothing pushed" in done.stderr


def test_two_runs_on_one_root_exclude_each_other(ran):
    config, root, _ = ran
    with filelock.FileLock(root / "run.lock"):
        done = raxnet("run", config)
    assert done.returncode == 2
    assert "another run holds this root" in done.stderr
