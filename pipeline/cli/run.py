"""raxnet run: the pipeline, on this machine."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

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
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(args: argparse.Namespace) -> int:
    """Runs the pipeline."""
    from pipeline import beam, config, local_runner

    settings = config.load(args.config)
    if args.beam:
        settings = replace(settings, beam=beam.load_profile(args.beam))
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
