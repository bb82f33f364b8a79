"""raxnet compare: losses or networks, trained and evaluated alike, in tables and figures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.config import Config

HELP = "train losses or networks on the same folds and batches, and tabulate what differs, and whether significantly"
EXAMPLE = "raxnet compare losses atlas.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `raxnet compare`."""
    parser.add_argument("kind", choices=("losses", "models"), help="what differs: the loss, or the network")
    parser.add_argument("config", type=Path, help="YAML file of a run; `compare:` in it says which and how")
    parser.add_argument(
        "--estimate",
        action="store_true",
        help="train nothing: measure a few steps of each and print the hours and the disk that it will take",
    )


def run(args: argparse.Namespace) -> int:
    """Compares, or estimates."""
    from pipeline import compare
    from pipeline.config import load

    loaded = load(args.config)
    if args.estimate:
        _print_estimate(loaded, args.kind)
        return 0
    folder = compare.compare(loaded, args.kind)
    print((folder / compare.PAGE).read_text(), end="")
    print(f"\ntables and figures: {folder}")
    return 0


def _print_estimate(config: Config, kind: str) -> None:
    from pipeline.estimate import estimate
    from reports.tables import text_table
    from serving.device import describe

    made = estimate(config, kind)
    print(text_table(made.rename(columns=lambda name: name.replace("_", " ")), {"hours": 2}))
    print(
        f"\nAt most {made['hours'].sum():.1f} hours one training after the other, and {made['gigabytes'].sum():.2f} GB "
        f"of checkpoints, by {describe()}, at the speed of a few steps. Patience may end a training sooner."
    )
