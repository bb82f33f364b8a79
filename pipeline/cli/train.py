"""raxnet train: one training of a run, on any machine that sees the run's root."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path

from lesions.errors import InputError

HELP = "train one plane and fold, for a run whose records are made; `raxnet run` adopts what is finished"
EXAMPLE = "raxnet train atlas.yaml --plane axial --fold 2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `raxnet train`."""
    parser.add_argument("config", type=Path, help="YAML file of the run")
    parser.add_argument("--plane", required=True, help="axial, sagittal or coronal")
    parser.add_argument("--fold", type=int, required=True, help="the validation fold, from 1")
    parser.add_argument(
        "--wait",
        type=float,
        default=600.0,
        help="seconds to wait for the other workers of TF_CONFIG (default: 600)",
    )


def run(args: argparse.Namespace) -> int:
    """Trains, or goes on training; several machines may do so at a time, each another plane or fold.

    Where TF_CONFIG names several workers, these train one plane and fold together.
    """
    from lesions import dataset
    from pipeline import config as configuration
    from pipeline import console, device, root_stack, trainings
    from trainer import tf_config

    config = configuration.load(args.config)
    if args.plane not in config.planes:
        raise InputError(f"--plane: must be one of the configuration's {config.planes}, found {args.plane!r}")
    if args.fold not in config.train_folds:
        raise InputError(
            f"--fold: must be one of the configuration's {config.train_folds}, found {args.fold}"
        )
    root_stack.check(config.root)
    examples = trainings.prepared(config, dataset.digest(dataset.discover(config.data)))
    one = trainings.training(config, examples[args.plane], args.plane, args.fold)
    cluster = tf_config.cluster()
    if cluster and config.training.jit_compile:
        raise InputError("training.jit_compile: must be false with several workers, found true")
    worker = f"-worker{cluster.number}" if cluster else ""
    stamp = f"{datetime.now():%Y%m%dT%H%M%S}"
    with console.logged(config.root / "logs" / f"train-{args.plane}-{args.fold}{worker}-{stamp}.log"):
        device.choose(config.device)
        from trainer import job, workers

        team = workers.join(cluster, config.training.replicas, args.wait) if cluster else None
        _, state = job.train(one, team)
    print(f"trained: {state.epoch} epochs, best {state.best_epoch}; `raxnet run` exports it", file=sys.stderr)
    return 0
