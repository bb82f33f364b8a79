"""raxnet run: the pipeline, on this machine."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.config import Config

HELP = "run the pipeline of a configuration: train, evaluate, push; what is done already is not done again"
EXAMPLE = "raxnet run atlas.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `raxnet run`."""
    parser.add_argument("config", type=Path, help="YAML file; `raxnet init` writes one")
    parser.add_argument(
        "--prepare",
        action="store_true",
        help="stop when the records are made and checked, before any training",
    )
    parser.add_argument(
        "--beam",
        metavar="PROFILE",
        help="where the ingest and the statistics run: a profile in deploy/beam, such as flink, or a YAML list "
        "of Beam's arguments; what is done already is not done again",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="write nothing: measure a few steps of training and print the trainings, hours and disk that it will take",
    )
    parser.add_argument("--json", action="store_true", help="print what was done, or will be, as JSON")


def run(args: argparse.Namespace) -> int:
    """Runs the pipeline."""
    from pipeline import beam, config, local_runner

    settings = config.load(args.config)
    if args.beam:
        settings = replace(settings, beam=beam.load_profile(args.beam))
    if args.dry_run:
        _print_forecast(settings, args.json)
        return 0
    done = local_runner.run(settings, prepare=args.prepare)
    if args.json:
        said = {
            "steps": done.nodes,
            "seconds": done.seconds,
            "report": str(done.report) if done.report else None,
            "log": str(done.log),
        }
        print(json.dumps(said, indent=2))
    elif done.report:
        print(f"report: {done.report}", file=sys.stderr)
    return 0


def _print_forecast(config: Config, as_json: bool) -> None:
    from lesions.files import free_bytes
    from pipeline import device
    from pipeline.dry_run import forecast
    from reports.tables import text_table
    from serving.device import describe

    device.choose(config.device)
    made = forecast(config)
    free = free_bytes(config.root)
    hours, kept = made.table["hours"].sum(), made.table["gigabytes"].sum()
    if as_json:
        rows = made.table.to_dict(orient="records")
        said = {"trainings": rows, "records_gb": made.records / 1e9, "free_gb": free / 1e9}
        print(json.dumps(said | {"subjects": made.subjects, "sampled": made.sampled}, indent=2))
        return
    print(text_table(made.table.rename(columns=lambda name: name.replace("_", " ")), {"hours": 2}))
    print(
        f"\nAt most {hours:.1f} hours one training after the other, by {describe()}, at the speed of a few steps. "
        "Patience may end a training sooner; validation, checks and evaluation come on top."
    )
    records = "are made" if not made.sampled else f"{made.records / 1e9:.2f} GB"
    print(f"Disk: records {records}, checkpoints {kept:.2f} GB; {free / 1e9:.1f} GB are free.")
    if made.sampled:
        print(f"Slices and records as in {made.sampled} of the {made.subjects} subjects with a mask.")
