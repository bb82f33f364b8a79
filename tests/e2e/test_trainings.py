"""Trainings outside the DAG: side by side, on another machine, and when one of them is killed."""

import json
import os
import shutil
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest

from lesions.dataset import digest, discover
from pipeline.config import load
from pipeline.trainings import prepared as prepared_records
from pipeline.trainings import training as training_of
from tests.e2e.conftest import TRAINING, executed, raxnet, run, write_config
from tests.ports import addresses

pytestmark = pytest.mark.slow
PLANES = ["axial", "coronal"]


@pytest.fixture(scope="module")
def prepared(phantom, tmp_path_factory):
    """A configuration of two planes whose records are made, its root, and what `--prepare` said."""
    folder = tmp_path_factory.mktemp("trainings")
    changes = {"planes": PLANES, "training": TRAINING, "parallel_trainings": 2}
    config = write_config(folder / "run.yaml", phantom, folder / "root", **changes)
    unprepared = raxnet("train", config, "--plane", "axial", "--fold", 1)
    done = raxnet("run", config, "--prepare")
    assert done.returncode == 0, done.stderr
    return config, folder / "root", unprepared


def epochs(root, plane):
    (history,) = root.glob(f"checkpoints/{plane}/fold_1/*/history.csv")
    return pd.read_csv(history)["epoch"].tolist()


def kill_training_of(plane, process, root):
    """SIGKILL to the process that trains a plane, once it does; the processes start in the planes' order."""
    until = time.monotonic() + 300
    while not list(root.glob(f"checkpoints/{plane}/fold_1/*/lock")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    children = psutil.Process(process.pid).children()
    trainings = sorted(
        (child for child in children if any("spawn_main" in part for part in child.cmdline())),
        key=lambda child: child.create_time(),
    )
    trainings[PLANES.index(plane)].kill()


def test_prepare_stops_before_training_and_training_waits_for_it(prepared):
    _, root, unprepared = prepared
    assert unprepared.returncode == 2
    assert "raxnet run CONFIG --prepare" in unprepared.stderr
    assert (root / "prepared.json").is_file()
    assert not (root / "artifacts/Trainer_axial_1").exists()


def test_a_dry_run_counts_the_records_that_are_made(prepared):
    config, root, _ = prepared
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    done = raxnet("run", config, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    loaded = load(config)
    examples = prepared_records(loaded, digest(discover(loaded.data)))
    for row in said["trainings"]:
        feed, _ = training_of(loaded, examples[row["plane"]], row["plane"], 1).feeds()
        assert row["steps"] == len(feed.plan(0))
        assert row["lesion_slices"] == (feed.index.rows["lesion_voxels"] > 0).sum()
        assert (row["trainings"], row["epochs"]) == (1, TRAINING["epochs"])
    assert (len(said["trainings"]), said["sampled"], said["records_gb"]) == (2, 0, 0)


def test_a_killed_training_is_named_the_others_end_and_the_run_goes_on(prepared):
    config, root, _ = prepared
    command = [sys.executable, "-m", "pipeline.cli.main", "run", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    kill_training_of("axial", process, root)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 1
    assert "axial, fold 1: its process was killed" in said.strip().splitlines()[-1]
    assert epochs(root, "coronal") == [1, 2]
    assert not list(root.glob("checkpoints/axial/fold_1/*/history.csv"))
    assert list(
        root.glob("artifacts/FoldSelector_coronal/selection/*/selection.json")
    )  # evaluated all the same

    alone = raxnet("train", config, "--plane", "axial", "--fold", 1)
    assert alone.returncode == 0, alone.stderr
    assert epochs(root, "axial") == [1, 2]

    done = run(config)
    assert {"Trainer_axial_1", "FoldSelector_axial", "ReportGen"} <= executed(done)
    assert not {"NiftiExampleGen", "AnomalyGate", "Trainer_coronal_1"} & executed(done)
    log = max((root / "logs").glob("run-*.log")).read_text()
    assert "trainings, " not in log  # nothing was left to train
    assert "epoch 1/2" not in log


def test_a_failed_fold_is_recorded_and_the_others_are_evaluated(prepared, phantom):
    """With one training at a time, which nothing runs beside."""
    config, root, _ = prepared
    training = TRAINING | {"epochs": 1, "seed": 3}
    changes = {"planes": ["axial"], "train_folds": [1, 2], "training": training}
    folds = write_config(config.with_name("folds.yaml"), phantom, root, **changes)
    loaded = load(folds)
    examples = prepared_records(loaded, digest(discover(loaded.data)))
    broken = training_of(loaded, examples["axial"], "axial", 2).folder / "last.npz"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no checkpoint")

    done = raxnet("run", folds)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("raxnet run: training failed: axial, fold 2: ")
    assert "last.npz: cannot go on from this checkpoint" in last
    table = pd.read_csv(root / "cross_validation.csv").set_index("fold")
    assert table["dice"].notna().to_dict() == {1: True, 2: False}
    assert "last.npz" in table.loc[2, "failed"]
    assert not table["best"].any()

    broken.unlink()
    steps = executed(run(folds))
    assert {"Trainer_axial_2", "SliceEvaluator_axial_2", "FoldSelector_axial", "ReportGen"} <= steps
    assert not {"Trainer_axial_1", "SliceEvaluator_axial_1"} & steps
    table = pd.read_csv(root / "cross_validation.csv").set_index("fold")
    assert table["dice"].notna().all()
    assert table["best"].sum() == 1
    chosen = max(root.glob("artifacts/FoldSelector_axial/selection/*"), key=lambda path: int(path.name))
    assert table.index[table["best"]] == [json.loads((chosen / "selection.json").read_text())["fold"]]
    assert len(list(root.glob("checkpoints/axial/fold_*/*/best.npz"))) >= 2  # weights of every fold


def test_two_workers_train_one_fold_together(prepared, phantom):
    """RAX-Net, as a user starts it; the curve is that of the training without workers."""
    config, root, _ = prepared
    training = TRAINING | {"epochs": 1, "optimizer": "sgd", "learning_rate": 0.01, "seed": 9}
    config = write_config(
        config.with_name("workers.yaml"), phantom, root, planes=["axial"], training=training
    )
    curves = {}
    for hosts in ([], addresses(2)):
        workers = [_worker(config, hosts, number) for number in range(max(1, len(hosts)))]
        said = [worker.communicate(timeout=600)[1] for worker in workers]
        assert [worker.returncode for worker in workers] == [0] * len(workers), said
        history = max(
            root.glob("checkpoints/axial/fold_1/*/history.csv"), key=lambda path: path.stat().st_mtime
        )
        curves[len(workers)] = pd.read_csv(history)[["loss", "val_loss"]]
        shutil.rmtree(history.parent)
    pd.testing.assert_frame_equal(curves[2], curves[1], rtol=1e-2)
    assert len(list((root / "logs").glob("train-axial-1-worker1-*.log"))) == 1

    bad = _worker(config, ["nowhere", "else"], 0)
    assert "TF_CONFIG: an address must be host:port, found 'nowhere'" in bad.communicate(timeout=300)[1]
    assert bad.returncode == 2


def _worker(config, hosts, number):
    """`raxnet train` with TF_CONFIG, where there are hosts."""
    named = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": number}}
    environment = os.environ | ({"TF_CONFIG": json.dumps(named)} if hosts else {})
    command = [
        sys.executable,
        "-m",
        "pipeline.cli.main",
        "train",
        str(config),
        "--plane",
        "axial",
        "--fold",
        "1",
    ]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def test_records_of_another_split_are_not_trained_on(prepared, phantom):
    config, root, _ = prepared
    split = {"folds": 4, "holdout": 0.2, "seed": 0}
    changes = {"planes": PLANES, "training": TRAINING, "split": split}
    other = write_config(config.with_name("other.yaml"), phantom, root, **changes)
    done = raxnet("train", other, "--plane", "axial", "--fold", 1)
    assert done.returncode == 2
    assert "another split" in done.stderr


def test_a_run_that_dies_takes_its_trainings_with_it(prepared, phantom):
    config, root, _ = prepared
    changes = {"planes": PLANES, "training": TRAINING | {"seed": 7, "epochs": 50, "patience": 50}}
    other = write_config(config.with_name("long.yaml"), phantom, root, parallel_trainings=2, **changes)
    command = [sys.executable, "-m", "pipeline.cli.main", "run", str(other)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 300
    while len(list(root.glob("checkpoints/*/fold_1/*/lock"))) < 4:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    children = psutil.Process(process.pid).children()
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
