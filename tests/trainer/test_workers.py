"""Two workers train what one does; real processes, on free ports of this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.ports import addresses

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
# sgd: Adam divides by what is next to nothing, and would show the rounding of sums.
EPOCHS = 16
SETTINGS = {
    "network": "small",
    "batch_size": 6,
    "epochs": 4,
    "seed": 5,
    "optimizer": "sgd",
    "learning_rate": 0.05,
    "batch_norm_slices": 32,
    "schedule": "plateau",
    "plateau_epochs": 1,
    "decay_rate": 0.5,
    "augmentation": {"flip": True, "shift": 0.1},
}


def start(examples, folder, cluster=(), index=0, **more):
    """A worker of the probe; without a cluster the only one."""
    settings = SETTINGS | more.pop("settings", {})
    arguments = {"examples": str(examples), "folder": str(folder), "settings": settings} | more
    environment = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"} | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    if cluster:
        named = {"cluster": {"worker": list(cluster)}, "task": {"type": "worker", "index": index}}
        environment["TF_CONFIG"] = json.dumps(named)
    command = [sys.executable, "-m", "tests.trainer.worker_probe", json.dumps(arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment)


def start_two(examples, folder, **more):
    cluster = addresses(2)
    return cluster, [start(examples, folder, cluster, index, **more) for index in range(2)]


def ended(process, timeout=300):
    """What it said; it must end."""
    try:
        _, said = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return said


def train_two(examples, folder, **more):
    _, both = start_two(examples, folder, **more)
    said = [ended(process) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    return said


def epochs(folder):
    found = list(folder.glob("checkpoints/axial/fold_1/*/history.csv"))
    return len(pd.read_csv(found[0])) if found else 0


def wait_for_epoch(number, folder, processes):
    until = time.monotonic() + 300
    while epochs(folder) < number:
        assert all(process.poll() is None for process in processes), [ended(p) for p in processes]
        assert time.monotonic() < until
        time.sleep(0.01)


def test_two_workers_train_what_one_does(examples, tmp_path):
    one = start(examples, tmp_path / "one")
    assert one.wait() == 0, ended(one)
    train_two(examples, tmp_path / "two")
    with np.load(tmp_path / "one/result.npz") as alone, np.load(tmp_path / "two/result.npz") as together:
        np.testing.assert_allclose(together["history"], alone["history"], rtol=1e-4)
        np.testing.assert_allclose(together["weights"], alone["weights"], rtol=1e-3, atol=1e-4)
        assert alone["history"][-1, 0] < 0.99 * alone["history"][0, 0]  # something was learned

    # The workers read, together, what one does; nobody reads all of it.
    names = ["subject", "slice"]
    reads = [
        pd.read_csv(tmp_path / f, names=names) for f in ("one/read-0.csv", "two/read-0.csv", "two/read-1.csv")
    ]
    alone, first, second = (table.sort_values(names) for table in reads)
    both = pd.concat([first, second]).sort_values(names)
    assert both.to_numpy().tolist() == alone.to_numpy().tolist()
    assert abs(len(first) - len(second)) < 0.2 * len(alone)

    folder = next((tmp_path / "two").glob("checkpoints/axial/fold_1/*"))
    assert sorted(path.name for path in folder.iterdir()) == ["best.npz", "history.csv", "last.npz", "lock"]


def test_killed_workers_are_named_and_the_training_goes_on_to_the_same_end(examples, tmp_path):
    more = {"settings": {"epochs": EPOCHS, "patience": EPOCHS, "learning_rate": 1.0}}
    train_two(examples, tmp_path / "whole", **more)
    for killed, after in ((1, 1), (0, 4)):
        cluster, both = start_two(examples, tmp_path / "killed", **more)
        wait_for_epoch(after, tmp_path / "killed", both)
        both[killed].send_signal(signal.SIGKILL)
        said = ended(both[1 - killed], timeout=120)
        assert both[1 - killed].returncode == 1, said
        assert f"lost worker {killed} ({cluster[killed]}); start all workers again" in said
        assert "Traceback" not in said
        ended(both[killed])
        assert after <= epochs(tmp_path / "killed") < EPOCHS
    said = train_two(examples, tmp_path / "killed", **more)
    assert all("goes on after epoch" in text for text in said)
    with np.load(tmp_path / "whole/result.npz") as whole, np.load(tmp_path / "killed/result.npz") as killed:
        np.testing.assert_array_equal(killed["history"], whole["history"])
        np.testing.assert_array_equal(killed["weights"], whole["weights"])
        assert (
            whole["history"][-1, -1] < whole["history"][0, -1]
        )  # the learning rate has fallen with the plateau


def test_a_worker_that_never_comes_and_one_that_trains_something_else(examples, tmp_path):
    cluster = addresses(2)
    alone = start(examples, tmp_path, cluster, 0, wait=3)
    assert f"nothing heard from worker 1 ({cluster[1]}) within 3 s" in ended(alone)
    assert alone.returncode == 1

    cluster = addresses(2)
    both = [start(examples, tmp_path, cluster, i, settings={"epochs": 2 + i}) for i in range(2)]
    said = [ended(process) for process in both]
    assert [process.returncode for process in both] == [1, 1], said
    assert all("the workers differ in: epochs; " in text or "lost worker" in text for text in said)
    assert any("the workers differ in: epochs; " in text for text in said)
    assert not epochs(tmp_path)
