"""One worker of a training, or the only one: python -m tests.trainer.worker_probe ARGUMENTS, in JSON.

ARGUMENTS: examples and folder; settings of the training; devices: logical processors that stand in for GPUs; seconds
to wait; whether to export the model.
The workers are TF_CONFIG's. Leaves in the folder: history and weights (result.npz), by the process that writes, and
the records that were read, by each (read-<worker>.csv).
"""

import json
import logging
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from lesions.errors import WorkError
from lesions.progress import LOGGER
from trainer import job, tf_config, workers
from trainer.evaluate import slice_counts
from trainer.input import Index
from trainer.networks import NETWORKS, Network
from trainer.settings import AugmentationSettings, TrainingSettings

NAMES = ("loss", "dice", "recall", "precision", "val_loss", "val_dice", "learning_rate")


def small(height: int, width: int, momentum: float) -> keras.Model:
    image = keras.Input((height, width, 1))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(4, 3, padding="same", kernel_regularizer=keras.regularizers.L2(0.01))(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=momentum)(x))
    return keras.Model(image, keras.layers.Conv2D(1, 1, activation="sigmoid")(x))


def note_reads(path: Path) -> None:
    """Every record that is read becomes a line of a file: subject, slice."""
    read = Index.read

    def noting(index: Index, numbers: np.ndarray) -> np.ndarray:
        with path.open("a") as stream:
            for number in numbers.ravel():
                print(index.subjects[index.shard[number]], index.rows["slice"][number], sep=",", file=stream)
        return read(index, numbers)

    Index.read = noting


def numbers_of(model: keras.Model) -> np.ndarray:
    return np.concatenate([np.ravel(v.numpy()) for v in model.variables if "float" in v.dtype])


def main(
    examples: str, folder: str, settings: dict, devices: int = 1, wait: float = 300, export: bool = False
) -> None:
    NETWORKS["small"] = Network(small)
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    logging.getLogger(LOGGER).setLevel(logging.INFO)
    if devices > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    cluster = tf_config.cluster()
    number = cluster.number if cluster else 0
    Path(folder).mkdir(parents=True, exist_ok=True)
    note_reads(Path(folder) / f"read-{number}.csv")
    augmentation = AugmentationSettings(**settings.pop("augmentation", {}))
    chosen = TrainingSettings(**settings, augmentation=augmentation)
    training = job.Training(Path(examples), "axial", 1, (2, 3), chosen, Path(folder) / "checkpoints", "code")
    team = workers.join(cluster, chosen.replicas, wait) if cluster else None
    model, state = job.train(training, team)
    if number == 0:
        history = np.array([[row[name] for name in NAMES] for row in state.history])
        np.savez(Path(folder) / "result.npz", history=history, weights=numbers_of(model))
    if export:
        job.export(training, model, state, Path(folder) / "exported")
        assert len(slice_counts(Path(folder) / "exported", Path(examples), 1, "made up")) > 10


if __name__ == "__main__":
    try:
        main(**json.loads(sys.argv[1]))
    except WorkError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
