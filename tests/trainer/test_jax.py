"""The same networks, losses and training step on Keras' JAX backend; what is trained there answers the same here.

Needs JAX: beside TensorFlow in this environment (the extra `jax`, in the lock), or in another one with Keras that
JAX_PYTHON names, which needs no TensorFlow.
"""

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.trainer import backend_probe
from tests.trainer.stages import settled
from trainer import networks

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("JAX_PYTHON", sys.executable)
OWN_LOSS = {
    "raxnet": "focal_tversky",
    "dunet": "enhanced_mixing",
    "clcinet": "squared_dice",
    "xnet": "cross_entropy_dice",
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "JAX_PYTHON" not in os.environ and importlib.util.find_spec("jax") is None,
        reason="JAX is not installed (./dev setup does it), and JAX_PYTHON names no interpreter that has it",
    ),
]
# Sixty layers of an untrained X-Net make 1e-3 of float32's rounding, on any backend; a trained one does not.
STEPS_BEFORE = {"xnet": 20}
# On two processors a step of either of the others takes a minute and a half to compile.
NAMES = sorted(OWN_LOSS) if "JAX_PYTHON" in os.environ else ["dunet", "raxnet"]


def start(name, folder):
    """A network that can tell bright blocks from dark ones, somewhat; and in the folder what the probe needs."""
    rng = np.random.default_rng(0)
    channels = networks.get(name).context
    blocks = rng.uniform(0, 255, (2, backend_probe.HEIGHT // 8, backend_probe.WIDTH // 8, len(channels)))
    blocks = np.kron(blocks, np.ones((1, 8, 8, 1)))
    mask = (blocks[..., [channels.index(0)]] > 200).astype("float32")
    image = (0.8 * blocks + 0.2 * rng.uniform(0, 255, blocks.shape)).astype("float32")
    model = settled(name, backend_probe.HEIGHT, backend_probe.WIDTH, image)
    model.compile("adamw", "binary_crossentropy")
    for _ in range(STEPS_BEFORE.get(name, 0)):
        model.train_on_batch(image, mask)
    np.savez(folder / "given.npz", image=image, mask=mask)
    keras.Model(model.inputs, model.outputs).save_weights(folder / "start.weights.h5")
    return model, image


def on_jax(*arguments):
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    # -m: JAX imports IPython, which puts a package `tests` of its own on the path, before ours were it not loaded.
    program = [PYTHON, "-W", "ignore", "-m", backend_probe.__name__, *map(str, arguments)]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=1000, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def stepped(tmp_path_factory):
    """A step of a network on JAX, made once: the network before it, its images, the folder, what was found there."""

    @functools.cache
    def step(name):
        folder = tmp_path_factory.mktemp(name)
        model, given = start(name, folder)
        on_jax(name, OWN_LOSS[name], folder)
        with np.load(folder / "probe.npz") as found:
            return model, given, folder, dict(found)

    return step


@pytest.mark.parametrize("name", NAMES)
def test_a_step_on_jax_and_its_weights_here(stepped, name):
    model, given, folder, found = stepped(name)
    assert found["backend"] == "jax"
    before = model.predict(given, verbose=0)
    np.testing.assert_allclose(found["before"], before, atol=1e-4)
    assert before.std() > 0.05
    trained = backend_probe.build(name)
    trained.load_weights(folder / "end.weights.h5")
    np.testing.assert_allclose(trained.predict(given, verbose=0), found["after"], atol=1e-4)
    assert np.abs(found["after"] - before).max() > 1e-3  # else nothing was trained
    assert np.isfinite(found["loss"])


def test_the_step_is_the_same_on_both(stepped, tmp_path):
    """Same weights, same batch, RAX-Net, which has no dropout: the same loss, and the same network after it."""
    _, _, folder, there = stepped("raxnet")
    ours = shutil.copytree(folder, tmp_path / "tensorflow")
    backend_probe.probe("raxnet", OWN_LOSS["raxnet"], ours)
    with np.load(ours / "probe.npz") as here:
        assert here["backend"] == "tensorflow"
        for key in ("loss", "dice", "recall", "precision"):
            assert float(there[key]) == pytest.approx(float(here[key]), abs=1e-4)
        np.testing.assert_allclose(there["after"], here["after"], atol=0.05)
