"""Slices per second of a training step of every network on Keras' JAX backend, at ATLAS' size: for a GPU.

    KERAS_BACKEND=jax python benchmarks/train_step_jax.py [--batch 32] [--networks raxnet xnet]

Needs JAX and Keras 3, no TensorFlow. Our networks, losses and scores through Keras' own `fit`, on random slices of
208 x 240 in memory, so that the input costs next to nothing. Every figure is the best of some epochs after one that
compiles.
float32: in full. tf32: the shorter products of the chip, JAX' default. mixed_bfloat16: the setting `precision`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras
import numpy as np
import pandas as pd
from atlas_hours import hours

from trainer import cost, losses, networks
from trainer.scores import scores

ROWS, COLUMNS = 208, 240
WAYS = {
    "float32": ("float32", "highest"),
    "tf32": ("float32", "default"),
    "bfloat16": ("mixed_bfloat16", "default"),
}


def speed(name: str, way: str, batch: int, steps: int, epochs: int) -> tuple[float, float]:
    """Slices per second, and the TFLOP/s of its convolutions (forward once, backward twice)."""
    policy, products = WAYS[way]
    keras.config.set_dtype_policy(policy)
    rng = np.random.default_rng(0)
    channels = len(networks.get(name).context)
    image = rng.uniform(0, 255, (batch * steps, ROWS, COLUMNS, channels)).astype("float32")
    mask = (image[..., :1] > 200).astype("float32")
    with jax.default_matmul_precision(products):
        model = networks.build(name, ROWS, COLUMNS)
        model.compile(
            keras.optimizers.AdamW(1e-3, weight_decay=0.004), losses.get("focal_tversky"), metrics=scores()
        )
        model.fit(image[:batch], mask[:batch], batch_size=batch, verbose=0)
        taken = []
        for _ in range(epochs):
            start = time.perf_counter()
            model.fit(image, mask, batch_size=batch, verbose=0)
            taken.append(time.perf_counter() - start)
    found = len(image) / min(taken)
    return found, 6 * cost.macs(model) * found / 1e12


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=16, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument(
        "--networks", nargs="+", choices=sorted(networks.NETWORKS), default=sorted(networks.NETWORKS)
    )
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    asked = parser.parse_args()
    rows = []
    for name in asked.networks:
        row: dict[str, object] = {"network": name}
        for way in asked.ways:
            row[way], row[f"{way}, TFLOP/s"] = speed(name, way, asked.batch, asked.steps, asked.epochs)
            keras.backend.clear_session()
            print(f"{name}, {way}: {row[way]:.1f} slices/s", file=sys.stderr, flush=True)
        rows.append(row)
    measured = pd.DataFrame(rows)
    device = jax.devices()[0]
    software = f"JAX {jax.__version__}, Keras {keras.__version__}"
    print(f"slices per second, batches of {asked.batch}, {device.device_kind}, {software}\n")
    print(measured.round(2).to_string(index=False))
    print(f"\nATLAS at the speed of `{asked.ways[-1]}`: the axial speed taken for every plane\n")
    print(hours(measured, asked.ways[-1]).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
