"""raxnet init: a commented configuration to start from."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from lesions.errors import InputError

HELP = "write a commented configuration to start from"
EXAMPLE = "raxnet init atlas atlas.yaml --data ATLAS_2 --root runs/atlas"

PROFILES = {
    "atlas": """\
# RAX-Net on ATLAS v2.0 as the method trains it. Every setting left out has its default.
data: {data}
root: {root}                 # everything the run writes
# metadata: sheet.xlsx       # lesion counts by location; looked for in the data's folder
planes: [axial, sagittal, coronal]
train_folds: [1]             # validation folds; [1, 2, 3, 4, 5] is the whole cross-validation
split: {{folds: 5, holdout: 0.2, seed: {seed}}}
training:
  network: raxnet
  loss: focal_tversky
  batch_size: 32             # half lesion slices, half normal ones
  epochs: 500                # at most; an interrupted or extended run goes on where it was
  patience: 50               # epochs without a better validation loss
  optimizer: adamw           # adamw, adam, sgd
  learning_rate: 0.001       # x decay_rate every decay_steps steps
  schedule: exponential      # exponential, constant, cosine, plateau
  decay_rate: 0.9
  decay_steps: 100000
  seed: {seed}
  batch_norm_momentum: 0.99
  batch_norm_slices: 0       # above 0: training slices over which the statistics are computed anew after each epoch
  precision: float32         # mixed_float16 on a GPU, mixed_bfloat16 on a processor that has it
  replicas: 1                # GPUs of a machine that share each batch
  tensorboard: false         # true: a log beside the checkpoints, with validation slices as images
  # augmentation: {{flip: true, shift: 0.05, rotation: 10, zoom: 0.1, gamma: 0.2}}  # all off unless set
fusion: {{rule: mean, threshold: 0.5}}
gates: {{slice_dice: 0.3, fused_dice: 0.4, fold_drift: 0.1}}  # below them nothing is pushed
# What `raxnet compare losses` and `raxnet compare models` hold against each other; --estimate says the hours.
compare:
  losses: [focal_tversky, tversky, focal, dice]
  models: [raxnet, dunet, clcinet, xnet]
  recipes: common            # common: as above for every network; published: as its authors trained it; both
strict: false                # true: stop at the first unusable file
parallel_trainings: 1        # above 1: planes and folds side by side; each training takes its own memory
device: auto                 # auto, cpu or gpu
""",
    "demo": """\
# A short training on phantom data: a demonstration, not a result.
data: {data}
root: {root}
planes: [axial, sagittal, coronal]
train_folds: [1]
split: {{folds: 8, holdout: 0.064, seed: {seed}}}
training:
  batch_size: 2              # one slice with lesion, one without: in a larger batch small lesions hardly count
  epochs: 1                  # many subjects once, rather than few of them often
  learning_rate: 0.0015
  decay_rate: 0.1            # falls to a tenth within the run
  decay_steps: 2500
  batch_norm_momentum: 0.9   # a short run; 0.99 would be evaluated on stale statistics
  batch_norm_slices: 640     # and of small batches: the statistics are computed anew for the final weights
  precision: {precision}  # what this machine computes quickest; float32 everywhere
  seed: {seed}
gates: {{slice_dice: 0.2, fused_dice: 0.3, fold_drift: 0.25}}  # small folds differ more by chance
device: auto
parallel_trainings: 3        # the three planes side by side, each in a process of its own
""",
    "compare": """\
# Losses or networks compared on a small phantom (raxnet phantom DATA --subjects 40 --spacing 5); no result.
data: {data}
root: {root}
planes: [axial]
train_folds: [1]
split: {{folds: 3, holdout: 0.1, seed: {seed}}}
training:
  batch_size: 4
  epochs: 2
  learning_rate: 0.0015
  decay_rate: 0.1            # falls to a tenth within some 240 steps
  decay_steps: 240
  batch_norm_momentum: 0.9   # a short run
  batch_norm_slices: 320
  seed: {seed}
compare:
  losses: [focal_tversky, tversky, focal, dice]
  models: [raxnet, dunet, clcinet, xnet]
  recipes: common            # the published recipes are for hundreds of epochs
gates: {{slice_dice: 0.2, fused_dice: 0.3, fold_drift: 0.1}}
device: auto
""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `raxnet init`."""
    parser.add_argument("profile", choices=sorted(PROFILES), help="what to start from")
    parser.add_argument("config", type=Path, help="YAML file to write")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--root", type=Path, required=True, help="folder for everything that the run writes")


def text(profile: str, data: Path, root: Path, seed: int = 0) -> str:
    """The YAML text of a profile."""
    import yaml

    from pipeline.device import quickest_precision

    quoted = {  # double quotes escape all there is, and nothing is folded into a second line
        name: yaml.safe_dump(str(path.resolve()), default_style='"', width=math.inf).rstrip("\n")
        for name, path in (("data", data), ("root", root))
    }
    return PROFILES[profile].format(**quoted, seed=seed, precision=quickest_precision())


def run(args: argparse.Namespace) -> int:
    """Writes the configuration; never over an existing file."""
    from lesions.files import write_text

    if args.config.exists():
        raise InputError(f"{args.config}: exists; name another file or delete it")
    write_text(args.config, text(args.profile, args.data, args.root))
    print(f"wrote {args.config}; next: raxnet run {args.config}")
    return 0
