"""Both stacks side by side: milliseconds of a training step and of inference, each measured by the same script.

    python benchmarks/stacks.py [--networks raxnet dunet] [--rounds 3] [--steps 6]

This process measures nothing: it starts the script on this machine's stack and on today's (deploy/stacks/current.sh:
Linux, root), by turns, in fresh processes, because a shared machine slows down for minutes at a time. Axial slices of a
phantom's size at 2 mm, on their canvas; batches of 8 from memory. train: train_on_batch, float32. inference: 16 slices
through the exported model's `serving_default`. A figure is the least of all rounds; the ratio is today's to this one's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TREE = Path(__file__).resolve().parents[1]
CURRENT = TREE / "deploy/stacks/current.sh"
BATCH, SLICES, SPACING = 8, 16, 2.0


def least(run: Callable[[], object], steps: int) -> float:
    """Milliseconds of the quickest of some calls, after two that compile."""
    seconds = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return 1e3 * min(seconds[2:])


def measured(name: str, steps: int) -> dict[str, float]:
    """What a network takes in this process."""
    import keras
    import numpy as np
    import tensorflow as tf

    from lesions.grid import template_grid
    from lesions.slices import canvas, slice_shape
    from trainer import fit, signatures
    from trainer.networks import NETWORKS
    from trainer.settings import TrainingSettings

    keras.utils.set_random_seed(0)
    grid, context = template_grid(SPACING).shape, NETWORKS[name].context
    shape, padding = slice_shape(grid, "axial"), canvas(grid, "axial")
    model = fit.build(TrainingSettings(network=name, batch_size=BATCH), shape, padding)
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (BATCH, *model.input_shape[1:])).astype(np.float32)
    masks = (images[..., :1] > 240).astype(np.float32)
    found = {"train": least(lambda: model.train_on_batch(images, masks), steps)}
    stacked = () if len(context) == 1 else (len(context),)
    slices = tf.constant(rng.uniform(1, 900, (SLICES, *stacked, *shape)), tf.float32)
    with tempfile.TemporaryDirectory() as folder:
        signatures.export(model, shape, padding, Path(folder), context)
        infer = tf.saved_model.load(folder).signatures["serving_default"]
        found["inference"] = least(lambda: infer(slices=slices)["probabilities"].numpy(), steps)
    return found


def measure(networks: list[str], steps: int) -> None:
    """Prints the figures of this process' stack as JSON."""
    from importlib import metadata
    from platform import python_version

    versions = (
        f"TF {metadata.version('tensorflow')}, Keras {metadata.version('keras')}, Python {python_version()}"
    )
    print(json.dumps({"stack": versions, "figures": {name: measured(name, steps) for name in networks}}))


def asked(command: list[str], networks: list[str], steps: int) -> dict:
    """The figures of one process."""
    given = ["benchmarks/stacks.py", "--measure", "--steps", str(steps), "--networks", *networks]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(TREE)}
    done = subprocess.run(
        [*command, *given], cwd=TREE, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(networks: list[str], steps: int, rounds: int) -> None:
    import pandas as pd

    from reports.tables import text_table

    commands = ([sys.executable], [str(CURRENT), "python"])
    rounds_of = [[], []]
    for _ in range(rounds):
        for found, command in zip(rounds_of, commands, strict=True):
            found.append(asked(command, networks, steps))
    rows = []
    for name in networks:
        for what in ("train", "inference"):
            here, there = (min(one["figures"][name][what] for one in found) for found in rounds_of)
            rows.append(
                {
                    "network": name,
                    "what": what,
                    "this stack, ms": here,
                    "today's, ms": there,
                    "ratio": there / here,
                }
            )
    print(f"this stack: {rounds_of[0][0]['stack']}\ntoday's: {rounds_of[1][0]['stack']}\n")
    print(text_table(pd.DataFrame(rows), {"this stack, ms": 0, "today's, ms": 0, "ratio": 2}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--networks", nargs="+", default=["raxnet"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument(
        "--measure", action="store_true", help="measure this process' stack alone, print JSON"
    )
    given = parser.parse_args()
    if given.measure:
        measure(given.networks, given.steps)
    else:
        compare(given.networks, given.steps, given.rounds)


if __name__ == "__main__":
    main()
