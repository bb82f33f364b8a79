"""Two devices that share each batch train what one does; two logical processors stand in for two GPUs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lesions.errors import InputError
from tests.trainer.conftest import GRID
from trainer import replicas

PROGRAM = """
import sys
from pathlib import Path
import keras
import numpy as np
import tensorflow as tf
from lesions.slices import canvas, slice_shape
from trainer import fit, input, job
from trainer.evaluate import slice_counts
from trainer.networks import NETWORKS, Network
from trainer.settings import TrainingSettings

def small(height, width, momentum):
    image = keras.Input((height, width, 1))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(4, 3, padding="same", kernel_regularizer=keras.regularizers.L2(0.01))(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=momentum)(x))
    return keras.Model(image, keras.layers.Conv2D(1, 1, activation="sigmoid")(x))

NETWORKS["small"] = Network(small)
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
examples, folder = Path(sys.argv[1]), Path(sys.argv[2])
grid = tuple(map(int, sys.argv[4].split(",")))
shape, padding = slice_shape(grid, "axial"), canvas(grid, "axial")
for count, epochs in ((1, 2), (2, 1), (2, 2)):
    # sgd: Adam divides by what is next to nothing, and would show the rounding of sums.
    settings = TrainingSettings(
        network="small", loss=sys.argv[3], batch_size=6, epochs=epochs, replicas=count, seed=5, optimizer="sgd",
        learning_rate=0.05, batch_norm_slices=32,
    )
    model = fit.build(settings, shape, padding)
    feeds = [fit.Feed(input.read_index(examples, k), settings, "axial", shape, padding) for k in ([2, 3], [1])]
    state = fit.fit(model, *feeds, folder / str(count), "made up")
    names = ("loss", "dice", "recall", "precision", "val_loss", "val_dice")
    history = np.array([[row[name] for name in names] for row in state.history])
    weights = np.concatenate([v.numpy().ravel() for v in model.variables if v.dtype == "float32"])
    np.savez(folder / f"{count}_{epochs}.npz", history=history, weights=weights)

training = job.Training(examples, "axial", 1, (2, 3), settings, folder / "job", "code")
trained, state = job.train(training)
job.export(training, trained, state, folder / "exported")  # on one device, as it is served
np.testing.assert_array_equal(trained.get_weights()[0], model.get_weights()[0])
assert len(slice_counts(folder / "exported", examples, 1, "made up")) > 10
"""


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["focal_tversky", "cross_entropy_dice", "enhanced_mixing"])
def test_two_devices_train_what_one_does(examples, tmp_path, loss):
    root = str(Path(__file__).resolve().parents[2])
    arguments = [str(examples), str(tmp_path), loss, ",".join(map(str, GRID.shape))]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, cwd=root, timeout=1000
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "1_2.npz") as one, np.load(tmp_path / "2_2.npz") as two:  # the latter was resumed
        np.testing.assert_allclose(two["history"], one["history"], rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(two["weights"], one["weights"], rtol=1e-2, atol=1e-3)
    with np.load(tmp_path / "1_2.npz") as one:
        assert not np.allclose(one["history"][0], one["history"][1], rtol=1e-3)  # something was learned


def test_more_devices_than_there_are_is_told():
    with pytest.raises(InputError, match=r"training\.replicas: 64, but TensorFlow finds"):
        replicas.devices(64)
