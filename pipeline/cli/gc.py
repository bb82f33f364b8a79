"""`raxnet gc`: removes what old runs left."""

from __future__ import annotations

import argparse
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from lesions.errors import InputError

if TYPE_CHECKING:
    from pipeline.old_runs import Waste

HELP = "remove what old runs left in a root; newer runs, released models and checkpoints stay"
EXAMPLE = "raxnet gc runs/atlas --keep 3 --dry-run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "root",
        nargs="?",
        type=Path,
        default=Path(),
        help="of runs, the folder that holds metadata.db (default: this folder)",
    )
    parser.add_argument(
        "--keep",
        type=int,
        default=3,
        metavar="N",
        help="complete runs that stay; those in which nothing had changed are one (default: 3)",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would go, and remove nothing")


def run(args: argparse.Namespace) -> int:
    """Removes, or says what it would; exit status 0."""
    if args.keep < 1:
        raise InputError(f"--keep must be 1 or more, found {args.keep}")
    from pipeline import executions, old_runs, root_stack
    from pipeline.local_runner import held

    executions.database_of(args.root)
    with held(args.root):
        root_stack.check(args.root)
        found = old_runs.find(args.root, args.keep)
        size = old_runs.freed(one.folder for one in found)
        for line in _lines(found, args.root):
            print(line)
        if not args.dry_run:
            old_runs.remove(args.root, found)
    done = "would go" if args.dry_run else "removed"
    print(f"{len(found)} folders {done}, {size / 1e6:.1f} MB" if found else "nothing to remove")
    return 0


def _lines(found: list[Waste], root: Path) -> list[str]:
    """A line for the folders side by side: where they are, and how many or their numbers."""
    lines = []
    for parent, some in groupby(found, lambda one: one.folder.parent):
        names = [one.folder.name for one in some]
        told = ", ".join(names) if len(names) <= 6 else f"{len(names)} folders"
        lines.append(f"{parent.relative_to(root)}: {told}")
    return lines
