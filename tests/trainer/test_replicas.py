"""Several devices that share each batch train what one does; logical processors stand in for GPUs."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesions.errors import InputError
from trainer import replicas, steps
from trainer.losses import LOSSES

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "network": "small",
    "batch_size": 6,
    "optimizer": "sgd",
    "learning_rate": 0.05,
    "batch_norm_slices": 32,
}


def run(module, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", f"tests.trainer.{module}", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=1000,
    )
    assert done.returncode == 0, done.stderr


def train(examples, folder, devices, epochs, **more):
    settings = SETTINGS | {"replicas": devices, "epochs": epochs}
    arguments = {"examples": str(examples), "folder": str(folder), "settings": settings, "devices": devices}
    run("worker_probe", json.dumps(arguments | more))
    with np.load(folder / "result.npz") as found:
        return found["history"], found["weights"]


@pytest.mark.slow
def test_two_devices_train_what_one_does(examples, tmp_path):
    history, weights = train(examples, tmp_path / "one", 1, 3)
    together = train(examples, tmp_path / "two", 2, 3, export=True)  # on one device, as it is served
    np.testing.assert_allclose(together[0], history, rtol=1e-4)
    np.testing.assert_allclose(together[1], weights, rtol=1e-3, atol=1e-4)
    assert history[-1, 0] < 0.995 * history[0, 0]  # something was learned


@pytest.mark.slow
def test_a_step_is_that_of_the_whole_batch_for_every_loss(examples, tmp_path):
    """Also where the parts are uneven, and, in an evaluation, where one of three devices has no slice."""
    small = [f"small:{loss}" for loss in sorted(LOSSES)]
    large = ["raxnet:focal_tversky", "dunet:enhanced_mixing"]
    for devices, names in ((1, small + large), (2, small + large), (3, small)):
        run("replicas_probe", examples, tmp_path / f"{devices}.npz", devices, ",".join(names))
    for devices, names in ((2, small + large), (3, small)):
        with np.load(tmp_path / "1.npz") as one, np.load(tmp_path / f"{devices}.npz") as several:
            for name in names:
                figures, changes = f"{name}:figures", f"{name}:changes"
                if name in small:  # an untrained deep network makes much of rounding
                    np.testing.assert_allclose(several[figures], one[figures], rtol=1e-3, err_msg=name)
                away = np.linalg.norm(several[changes] - one[changes]) / np.linalg.norm(one[changes])
                assert away < (0.03 if "dunet" in name else 1e-3), (name, devices, away)


@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    workers=st.integers(1, 4),
    each=st.integers(1, 3),
)
def test_workers_read_every_slice_of_every_batch_once(sizes, workers, each):
    plan = np.split(np.random.default_rng(0).permutation(sum(sizes)), np.cumsum(sizes)[:-1])
    read = [replicas.parts(plan, worker, workers, workers * each) for worker in range(workers)]
    assert all(len(parts) == len(plan) * each for parts in read)  # every device has a part of every batch
    for number, batch in enumerate(plan):
        parts = [parts[number * each + device] for parts in read for device in range(each)]
        assert sorted(np.concatenate(parts)) == sorted(batch)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_batch_with_fewer_slices_than_devices_is_told():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    together = steps.Together(model)
    together.replicas = 3
    with pytest.raises(InputError, match=r"training\.replicas: 3 devices, and a batch of 2 slices"):
        together.train(None, [np.arange(4), np.arange(2)], 0)


def test_more_devices_than_there_are_is_told():
    with pytest.raises(InputError, match=r"training\.replicas: 64, but TensorFlow finds"):
        replicas.devices(64)
