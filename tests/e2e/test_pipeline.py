"""The pipeline end to end: nothing done twice, nothing pushed unblessed, nothing lost to a kill."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import filelock
import pandas as pd
import pytest

from lesions.provenance import read_card
from tests.e2e.conftest import SETTINGS, cold_raxnet, executed, raxnet, run, write_config

pytestmark = pytest.mark.slow
BEHIND_GATES = {"Blesser", "Pusher_axial", "Release", "ReportGen"}  # no model runs in any of them
BEHIND_FUSION = {"FusionEvaluator"} | BEHIND_GATES


@pytest.fixture(scope="module")
def ran(finished):
    """A finished run: its configuration, root and what `raxnet run --json` said."""
    return finished[:3]


def newest(root, pattern):
    return max(root.glob(f"artifacts/{pattern}"), key=lambda path: path.stat().st_mtime_ns)


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


def test_a_model_is_compared_with_the_released_one_and_a_second_run_does_nothing(ran, phantom):
    """Another seed's model against the released one, by counts that were stored: nothing is evaluated again."""
    config, root, _ = ran
    (released,) = (root / "serving_models/releases").glob("*.json")
    training = SETTINGS["training"] | {"seed": 1}
    gates = {"slice_dice": 0.0, "fused_dice": 0.0, "released_drop": 1.0, "fold_drift": 0.5}
    other = write_config(config.with_name("seed.yaml"), phantom, root, training=training, gates=gates)
    trained = {"Trainer_axial_1", "SliceEvaluator_axial_1", "FoldSelector_axial"}
    assert executed(run(other)) == trained | BEHIND_FUSION
    (row,) = pd.read_csv(newest(root, "Blesser/blessing/*/released.csv")).itertuples()
    counts = pd.read_csv(newest(root, "SliceEvaluator_axial_1/evaluation/*/slices.csv"))
    assert row.release == released.stem
    assert row.slices == (counts["lesion_voxels"] > 0).sum()
    assert row.left_out == 0
    assert 0 <= row.released <= 1
    assert len(list((root / "serving_models/axial").iterdir())) == 2
    assert executed(run(other)) == set()
    assert executed(run(config)) == set()


def test_an_earlier_release_is_served_again_and_stays(ran):
    config, root, _ = ran
    models = root / "serving_models"
    first, second = json.loads(raxnet("rollback", "--models", models, "--json").stdout)
    assert (first["served"], second["served"]) == (False, True)
    done = raxnet("rollback", first["release"], "--models", models)
    assert done.returncode == 0, done.stderr
    listed = json.loads(raxnet("rollback", "--models", models, "--json").stdout)
    assert [one["served"] for one in listed] == [False, False, True]
    assert listed[-1]["restores"] == first["release"]
    assert executed(run(config)) == set()


def test_another_metadata_sheet_writes_the_report_anew_and_nothing_else(ran, phantom):
    config, root, _ = ran
    assert "No metadata sheet: all locations are approximate." in (root / "report.html").read_text()
    sheet = config.with_name("sheet.csv")
    sheet.write_text("Subject ID,# Lesions LH Subcortical\nR001S001,1\n")
    told = write_config(config.with_name("sheet.yaml"), phantom, root, metadata=str(sheet))
    assert executed(run(told)) == {"ReportGen"}
    assert "1 of 14 subjects have their lesion locations in it" in (root / "report.html").read_text()
    sheet.write_text("Subject ID,# Lesions LH Subcortical\nR001S001,1\nR001S002,1\n")
    assert executed(run(told)) == {"ReportGen"}
    assert "2 of 14 subjects have their lesion locations in it" in (root / "report.html").read_text()


def test_an_added_plane_trains_that_plane_alone(ran, phantom):
    config, root, _ = ran
    added = write_config(config.with_name("plane.yaml"), phantom, root, planes=["axial", "coronal"])
    steps = executed(run(added))
    assert steps == BEHIND_FUSION | {
        "Trainer_coronal_1",
        "SliceEvaluator_coronal_1",
        "FoldSelector_coronal",
        "Pusher_coronal",
    }


def test_old_runs_go_and_what_the_newest_needs_stays(ran):
    _, root, _ = ran
    models, trained = set(root.glob("serving_models/*/[0-9]*")), "artifacts/Trainer_axial_1/model/*"
    assert len(list(root.glob(trained))) == 2  # of two seeds
    done = raxnet("gc", root, "--keep", "1")
    assert done.returncode == 0, done.stderr
    assert " MB" in done.stdout
    assert len(list(root.glob(trained))) == 1
    assert set(root.glob("serving_models/*/[0-9]*")) == models
    assert executed(run(root.with_name("plane.yaml"))) == set()
    assert raxnet("report", root, root.with_name("after.html")).returncode == 0


def test_two_runs_on_one_root_exclude_each_other(ran):
    config, root, _ = ran
    with filelock.FileLock(root / "run.lock"):
        done = raxnet("run", config)
    assert done.returncode == 2
    assert "another run holds this root" in done.stderr


def test_sigkill_in_training_costs_one_epoch_at_most(ran, phantom):
    _, root, _ = ran
    training = SETTINGS["training"] | {"epochs": 2, "seed": 2}
    config = write_config(root.with_name("killed.yaml"), phantom, root, training=training)
    before = set(root.glob("checkpoints/axial/fold_1/*"))
    command = [sys.executable, "-m", "pipeline.cli.main", "run", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    until = time.monotonic() + 600
    while not (
        new := [one for one in root.glob("checkpoints/axial/fold_1/*/last.npz") if one.parent not in before]
    ):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = raxnet("run", config)
    assert done.returncode == 0, done.stderr
    assert "goes on after epoch" in done.stderr
    assert pd.read_csv(new[0].with_name("history.csv"))["epoch"].tolist() == [1, 2]
