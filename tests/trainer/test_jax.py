"""The same networks, losses and training step on Keras' JAX backend; what is trained there answers the same here.

Needs JAX: beside TensorFlow in this environment (the extra `jax`), or in another one with Keras that JAX_PYTHON
names, which needs no TensorFlow.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.trainer import backend_probe
from tests.trainer.stages import images, settled

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("JAX_PYTHON", sys.executable)
OWN_LOSS = {
    "raxnet": "focal_tversky",
    "dunet": "enhanced_mixing",
    "clcinet": "squared_dice",
    "xnet": "cross_entropy_dice",
}
pytestmark = pytest.mark.skipif(
    "JAX_PYTHON" not in os.environ and importlib.util.find_spec("jax") is None,
    reason="JAX is not installed (uv pip install jax), and JAX_PYTHON names no interpreter that has it",
)


def on_jax(*arguments):
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    program = [PYTHON, "-W", "ignore", backend_probe.__file__, *map(str, arguments)]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=1000, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", sorted(OWN_LOSS))
def test_a_step_on_jax_and_its_weights_here(name, tmp_path):
    model = settled(name, backend_probe.HEIGHT, backend_probe.WIDTH)
    model.save_weights(tmp_path / "start.weights.h5")
    given = images(model, 2)
    on_jax(name, OWN_LOSS[name], tmp_path)
    with np.load(tmp_path / "probe.npz") as found:
        found = dict(found)
    assert found["backend"] == "jax"
    before = model.predict(given, verbose=0)
    np.testing.assert_allclose(found["before"], before, atol=1e-4)
    assert before.std() > 0.05
    trained = backend_probe.build(name)
    trained.load_weights(tmp_path / "end.weights.h5")
    np.testing.assert_allclose(trained.predict(given, verbose=0), found["after"], atol=1e-4)
    assert np.abs(found["after"] - before).max() > 1e-3  # else nothing was trained
    assert np.isfinite(found["loss"])


def test_the_step_is_the_same_on_both(tmp_path):
    """Same weights, same batch, RAX-Net, which has no dropout: the same loss, and the same network after it."""
    model = settled("raxnet", backend_probe.HEIGHT, backend_probe.WIDTH)
    (tmp_path / "jax").mkdir()
    for folder in (tmp_path, tmp_path / "jax"):
        model.save_weights(folder / "start.weights.h5")
    on_jax("raxnet", "focal_tversky", tmp_path / "jax")
    backend_probe.probe("raxnet", "focal_tversky", tmp_path)
    with np.load(tmp_path / "jax" / "probe.npz") as there, np.load(tmp_path / "probe.npz") as here:
        assert here["backend"] == "tensorflow"
        for key in ("loss", "dice", "recall", "precision"):
            assert float(there[key]) == pytest.approx(float(here[key]), abs=1e-4)
        np.testing.assert_allclose(there["after"], here["after"], atol=0.05)
