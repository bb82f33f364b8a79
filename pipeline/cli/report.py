"""`raxnet report`: the page of a finished run, written again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.report_content import Folders
    from pipeline.executions import Node

HELP = "write report.html again from a finished run; nothing is trained or scored"
EXAMPLE = "raxnet report demo report.html"
# Field of Folders: the node and its output.
_SINGLE = {
    "manifest": ("DatasetValidator", "manifest"),
    "tables": ("LesionStatisticsGen", "tables"),
    "fold_map": ("FoldGen", "fold_map"),
    "gate": ("AnomalyGate", "report"),
    "evaluation": ("FusionEvaluator", "evaluation"),
    "blessing": ("Blesser", "blessing"),
    "release": ("Release", "release"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "run_folder",
        metavar="RUN",
        type=Path,
        help="root of a finished run, the folder that holds metadata.db",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="file to write, or a folder for report.html")


def run(args: argparse.Namespace) -> int:
    """Writes the page of the newest run that came to its end; prints where and how large; exit status 0."""
    import json

    from lesions.errors import InputError
    from lesions.files import require_writable
    from pipeline import executions, root_stack
    from pipeline.config import COMPARE
    from reports.report import PAGE, write_report

    out = args.out if args.out.suffix in (".html", ".htm") else args.out / PAGE
    require_writable(out.parent)
    database = executions.database_of(args.run_folder)
    root_stack.check(args.run_folder)
    nodes = executions.finished(database)
    if not nodes:
        raise InputError(
            f"{args.run_folder}: no run here came to its end; `raxnet run CONFIG` brings it there"
        )
    from components.report_content import gather

    said = nodes[executions.LAST].parameters
    content = gather(
        _folders(nodes, args.run_folder),
        said["configuration"],
        said.get("metadata", ""),
        json.loads(said.get("versions", "{}")),
        args.run_folder / COMPARE,
    )
    write_report(content, out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    return 0


def _folders(nodes: dict[str, Node], root: Path) -> Folders:
    """The artifacts that the page is made of, below the root wherever it has been moved since.

    Raises:
        InputError: One of them is gone.
    """
    from components.report_content import Folders
    from lesions.errors import InputError
    from lesions.slices import PLANES

    def place(node: str, output: str) -> Path:
        folder = root / "artifacts" / Path(*nodes[node].outputs[output].parts[-3:])
        if not folder.is_dir():
            raise InputError(f"{folder}: gone; the page is made of it, `raxnet run CONFIG` makes it again")
        return folder

    planes = [plane for plane in PLANES if f"FoldSelector_{plane}" in nodes]
    return Folders(
        **{field: place(*of) for field, of in _SINGLE.items()},
        selections={plane: place(f"FoldSelector_{plane}", "selection") for plane in planes},
        models={plane: place(f"FoldSelector_{plane}", "model") for plane in planes},
    )
