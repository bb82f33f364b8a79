"""Seconds that a scan of ATLAS' size takes every network on Keras' JAX backend, three planes: for a GPU.

    KERAS_BACKEND=jax python benchmarks/forward_jax.py [--batch 64] [--networks raxnet xnet]

Needs JAX and Keras 3, no TensorFlow. Random slices in the computer's memory, answers brought back there; reading the
scan, fusing the planes and writing the mask are not in it. The best of some scans after one that compiles.
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
from train_step_jax import WAYS

from lesions.grid import template_grid
from lesions.slices import AXIS, PLANES, canvas, slice_shape
from trainer import networks


def seconds(name: str, way: str, batch: int, scans: int) -> dict[str, float]:
    """Plane -> seconds for all its slices."""
    policy, products = WAYS[way]
    keras.config.set_dtype_policy(policy)
    shape, taken = template_grid(1.0).shape, {}
    for plane in PLANES:
        rows, columns = canvas(shape, plane).padded(*slice_shape(shape, plane))
        channels = len(networks.get(name).context)
        number = shape[AXIS[plane]]
        slices = np.random.default_rng(0).uniform(0, 255, (number, rows, columns, channels)).astype("float32")
        with jax.default_matmul_precision(products):
            model = networks.build(name, rows, columns)
            taken[plane] = min(_timed(model, slices, batch) for _ in range(scans + 1))
        keras.backend.clear_session()
    return taken


def _timed(model: keras.Model, slices: np.ndarray, batch: int) -> float:
    start = time.perf_counter()
    model.predict(slices, batch_size=batch, verbose=0)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--scans", type=int, default=5)
    parser.add_argument("--networks", nargs="+", choices=sorted(networks.NETWORKS), default=["raxnet"])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    asked = parser.parse_args()
    rows = []
    for name in asked.networks:
        for way in asked.ways:
            taken = seconds(name, way, asked.batch, asked.scans)
            rows.append({"network": name, "products": way} | taken | {"scan": sum(taken.values())})
            print(rows[-1], file=sys.stderr, flush=True)
    print(
        f"seconds a scan, {jax.devices()[0].device_kind}, JAX {jax.__version__}, Keras {keras.__version__}\n"
    )
    print(pd.DataFrame(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
