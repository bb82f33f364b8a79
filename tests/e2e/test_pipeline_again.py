"""A finished root that is run in again: what is new is done, and nothing else; a kill costs an epoch."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from tests.e2e.conftest import BEHIND_GATES, SETTINGS, executed, newest, raxnet, run, write_config

pytestmark = pytest.mark.slow
BEHIND_FUSION = {"FusionEvaluator"} | BEHIND_GATES


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
