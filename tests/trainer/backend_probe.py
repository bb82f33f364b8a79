"""A network under one of Keras' backends: its answers, one training step, its answers after it, its weights.

As a program, for a backend other than the tests' own: python -m tests.trainer.backend_probe NETWORK LOSS FOLDER.
FOLDER has start.weights.h5 and given.npz, with image and mask, and gets probe.npz and end.weights.h5.
"""

import sys
from pathlib import Path

import keras
import numpy as np

from trainer import losses, networks
from trainer.scores import scores

HEIGHT, WIDTH = 48, 32


def build(name: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    return networks.build(name, HEIGHT, WIDTH)


def probe(name: str, loss: str, folder: Path) -> None:
    model = build(name)
    model.load_weights(folder / "start.weights.h5")
    with np.load(folder / "given.npz") as given:
        image, mask = given["image"], given["mask"]
    before = model.predict(image, verbose=0)
    model.compile(keras.optimizers.AdamW(1e-3, weight_decay=0.004), losses.get(loss), metrics=scores())
    history = model.fit(image, mask, batch_size=2, epochs=1, verbose=0).history
    after = model.predict(image, verbose=0)
    keras.Model(model.inputs, model.outputs).save_weights(folder / "end.weights.h5")  # without the optimizer
    facts = {key: np.float64(values[0]) for key, values in history.items()}
    np.savez(folder / "probe.npz", before=before, after=after, backend=keras.backend.backend(), **facts)


if __name__ == "__main__":
    probe(*sys.argv[1:3], Path(sys.argv[3]))
