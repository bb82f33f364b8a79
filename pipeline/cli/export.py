"""`raxnet export`: slices for other programs, of the same subjects and folds as a run's; models for Keras 2."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lesions.checks import Checked
    from pipeline.config import Config

HELP = "write slices as .npy arrays or 2-D NIfTI files, or models as Keras 2's .h5, for other programs"
EXAMPLE = "raxnet export arrays atlas.yaml arrays"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "what",
        choices=("arrays", "slices", "h5"),
        help="arrays: the batches of each plane and validation fold as .npy; slices: a NIfTI file per slice; "
        "h5: the newest model of each plane as a file that the authors' container loads",
    )
    parser.add_argument(
        "config",
        metavar="CONFIG|MODELS",
        type=Path,
        help="of the run: data set, planes, split, batches; for h5 the folder of models",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to make")
    parser.add_argument("--flat", action="store_true", help="arrays without the axis of batches")


def run(args: argparse.Namespace) -> int:
    """Writes the files and prints what and how many; exit status 0."""
    from lesions.checks import check_dataset, put_aside
    from lesions.dataset import discover
    from lesions.errors import InputError
    from lesions.export import write_slices
    from lesions.files import require_writable
    from lesions.progress import to_log
    from pipeline import config as configuration

    if args.flat and args.what != "arrays":
        raise InputError("--flat: is for arrays; leave it out")
    if args.out.exists():
        raise InputError(f"{args.out}: exists; name another folder or remove it")
    require_writable(args.out)
    if args.what == "h5":
        return _models(args.config, args.out)
    config = configuration.load(args.config)
    progress = to_log("checking every scan and mask")
    checked = check_dataset(discover(config.data), config.processes, progress, config.strict)
    if args.what == "slices":
        count = write_slices(args.out, checked.usable, checked.grid, config.planes, to_log("writing slices"))
        print(f"{count:,} slices of {len(checked.usable)} subjects, and their masks: {args.out}")
    else:
        _arrays(args, config, checked)
    if aside := put_aside(checked.findings):
        print(f"left out: {', '.join(aside)} (`raxnet check {config.data}` says why)")
    return 0


def _models(models: Path, out: Path) -> int:
    from lesions.errors import InputError
    from lesions.files import whole_folder
    from lesions.slices import PLANES
    from serving.predictor import newest_version
    from trainer import keras2_models

    found = {plane: newest for plane in PLANES if (newest := newest_version(models / plane))}
    if not found:
        raise InputError(
            f"{models}: no <plane>/<version>/saved_model.pb here; give the serving_models of a run"
        )
    with whole_folder(out) as folder:
        for plane, model in found.items():
            keras2_models.write(model, folder / f"{plane}.h5")
    for plane, model in found.items():
        print(f"{out / plane}.h5  {model}")
    return 0


def _arrays(args: argparse.Namespace, config: Config, checked: Checked) -> None:
    import numpy as np

    from lesions.export import ArrayOptions, write_arrays
    from lesions.folds import make_folds
    from lesions.progress import to_log
    from lesions.statistics import compute_tables

    tables = compute_tables(checked.usable, config.processes, to_log("measuring lesions"))
    folds = make_folds(tables, config.split.folds, config.split.holdout, config.split.seed)
    training = config.training
    options = ArrayOptions(config.planes, config.train_folds, training.batch_size, training.seed, args.flat)
    for folder in write_arrays(args.out, checked.usable, tables, folds, options, to_log("writing arrays")):
        shapes = [f"{p.name} {np.load(p, mmap_mode='r').shape}" for p in sorted(folder.glob("images*.npy"))]
        print(f"{folder.relative_to(args.out)}: {', '.join(shapes)}, and masks")
