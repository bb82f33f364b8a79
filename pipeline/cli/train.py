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


def run(args: argparse.Namespace) -> int:
    """Trains, or goes on training; several machines may do so at a time, each another plane or fold."""
    from lesions import dataset
    from pipeline import config as configuration
    from pipeline import console, device, root_stack, trainings

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
    stamp = f"{datetime.now():%Y%m%dT%H%M%S}"
    with console.logged(config.root / "logs" / f"train-{args.plane}-{args.fold}-{stamp}.log"):
        device.choose(config.device)
        from trainer import job

        _, state = job.train(one)
    print(f"trained: {state.epoch} epochs, best {state.best_epoch}; `raxnet run` exports it", file=sys.stderr)
    return 0
