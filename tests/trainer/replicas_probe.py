"""Two steps and an evaluation on some devices: python -m tests.trainer.replicas_probe EXAMPLES OUT DEVICES NAMES.

NAMES: network:loss,... Logical processors stand in for GPUs. OUT gets, by `<network>:<loss>`, the figures of both and
the weights' changes.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from lesions.slices import canvas, slice_shape
from tests.trainer.conftest import GRID
from tests.trainer.worker_probe import numbers_of, small
from trainer import fit, input, steps
from trainer.networks import NETWORKS, Network
from trainer.settings import TrainingSettings

SHAPE, PADDING = slice_shape(GRID.shape, "axial"), canvas(GRID.shape, "axial")


def probe(examples: Path, network: str, loss: str, devices: int) -> dict[str, np.ndarray]:
    settings = TrainingSettings(
        network=network,
        loss=loss,
        batch_size=6,
        replicas=devices,
        seed=5,
        optimizer="sgd",
        learning_rate=0.01,
    )
    model = fit.build(settings, SHAPE, PADDING)
    feed = fit.Feed(input.read_index(examples, [2, 3]), settings, "axial", SHAPE, PADDING)
    batch, before = feed.plan(0)[0], numbers_of(model)
    uneven = [batch[:5], batch[1:5]]
    goes = steps.of(model)
    trained = goes.train(feed, uneven, 0)
    changes = numbers_of(model) - before
    scored = goes.evaluate(feed, [batch[:5], batch[2:4]])  # of the second, one of three devices gets nothing
    goes.renew(feed, uneven)
    names = ("loss", "dice", "recall", "precision")
    figures = [part[name] for part in (trained, scored, goes.evaluate(feed, uneven)) for name in names]
    return {"figures": np.array(figures), "changes": changes}


def main(examples: str, out: str, devices: str, names: str) -> None:
    NETWORKS["small"] = Network(small)
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * int(devices))
    found = {}
    for name in names.split(","):
        made = probe(Path(examples), *name.split(":"), int(devices))
        found |= {f"{name}:{key}": value for key, value in made.items()}
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
