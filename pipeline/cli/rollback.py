"""`raxnet rollback`: the releases of a folder of models, and the way back to one."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from lesions.errors import InputError

HELP = "list the releases of a folder of models, or serve an earlier one again"
EXAMPLE = "raxnet rollback 20261127T121024Z --models serving_models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("release", nargs="?", metavar="RELEASE", help="its id; without one, all are listed")
    parser.add_argument(
        "--models",
        type=Path,
        default=Path("serving_models"),
        help="the folder that servers watch (default: ./serving_models)",
    )
    parser.add_argument("--json", action="store_true", help="print the list, or what is served now, as JSON")


def run(args: argparse.Namespace) -> int:
    """Lists or rolls back; exit status 0."""
    from serving import releases

    found = releases.released(args.models)
    if not found:
        raise InputError(f"{args.models}: no release here; name a run's serving_models with --models")
    if args.release is None:
        served = releases.served(args.models)
        listed = [_row(one, served) for one in found]
        print(json.dumps(listed, indent=2) if args.json else _table(listed))
        return 0
    made = releases.roll_back(args.models, args.release)
    if args.json:
        print(json.dumps(made, indent=2))
        return 0
    said = ", ".join(f"{plane} {number}" for plane, number in releases.versions(made).items())
    if made["id"] == args.release:
        print(f"{made['id']} is served already: {said}")
    else:
        print(f"{args.release} is served again, as release {made['id']}: {said}")
        print("servers that watch the folder take it over by themselves", file=sys.stderr)
    return 0


def _row(release: dict[str, Any], served: dict[str, int]) -> dict[str, Any]:
    """What the list says of a release."""
    from serving.releases import versions

    models = release["models"].values()
    fused = release.get("holdout", {}).get("fused", {})
    return {
        "release": release["id"],
        "served": versions(release) == served,
        "restores": release.get("restores", ""),
        "versions": versions(release),
        "dataset": ", ".join(sorted({str(model.get("dataset", "")) for model in models})),
        "holdout_dice": fused.get("dice"),
        "holdout_subjects": fused.get("n"),
    }


def _table(listed: list[dict[str, Any]]) -> str:
    import pandas as pd

    from reports.tables import text_table

    rows = [
        {
            "release": one["release"],
            "served": "now" if one["served"] else "",
            "restores": one["restores"],
            "versions": ", ".join(f"{plane} {number}" for plane, number in one["versions"].items()),
            "data": one["dataset"],
            "Dice": one["holdout_dice"],
            "n": one["holdout_subjects"],
        }
        for one in listed
    ]
    return text_table(pd.DataFrame(rows), {"Dice": 3})
