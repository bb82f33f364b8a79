"""`raxnet phantom`: writes a synthetic ATLAS-shaped data set."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write a synthetic ATLAS-shaped data set"
EXAMPLE = "raxnet phantom phantom3mm --subjects 60 --spacing 3"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "out", metavar="OUT", type=Path, help="folder to make; a finished equal phantom is kept"
    )
    parser.add_argument("--subjects", metavar="N", type=int, required=True, help="number of subjects")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="same seed, same scans (default 0)")
    parser.add_argument(
        "--spacing",
        metavar="MM",
        type=float,
        default=1.0,
        help="voxel edge, 0.5-6 mm (default 1: ATLAS's own grid)",
    )
    parser.add_argument("--workers", metavar="W", type=int, help="processes (default: one per processor)")


def run(args: argparse.Namespace) -> int:
    """Writes the data set; exit status 0."""
    from lesions.phantom import make_cohort
    from lesions.progress import to_log

    progress = to_log("making the phantom")
    make_cohort(args.out, args.subjects, args.seed, args.spacing, args.workers, progress)
    return 0
