"""`raxnet stats`: tables and figures of the lesions of a data set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lesions.dataset import Dataset
    from lesions.statistics import Tables

HELP = "write tables and figures of the lesions of a data set"
EXAMPLE = "raxnet stats ATLAS_2 tables --workers 4"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("dataset", metavar="DATASET", type=Path, help="folder of an ATLAS or BIDS tree")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder for the tables")
    parser.add_argument("--workers", metavar="N", type=int, default=1, help="processes (default: 1)")
    parser.add_argument(
        "--metadata",
        metavar="FILE",
        type=Path,
        help="sheet with lesion counts by location, .xlsx or .csv (default: looked for in DATASET)",
    )


def run(args: argparse.Namespace) -> int:
    """Writes the tables and prints a line about each; exit status 0."""
    from dataclasses import replace

    from lesions.dataset import discover
    from lesions.files import require_writable
    from lesions.metadata import find_sheet
    from lesions.places import with_sheet
    from lesions.progress import to_log
    from lesions.statistics import compute_tables
    from pipeline.cli.figures import write_figures

    dataset = discover(args.dataset)
    require_writable(args.out)
    sheet = find_sheet(args.dataset, args.metadata)
    tables = compute_tables(dataset.scans, args.workers, to_log("measuring lesions"))
    tables = replace(tables, dataset=dataset.name, phantom=dataset.phantom)
    lines = ["no metadata sheet found: locations are approximate"]
    if sheet is not None and tables.locations is not None:
        counts, notes = sheet.match(tables.lesions_3d["subject"])
        tables = replace(tables, locations=with_sheet(tables.locations, counts))
        lines = [f"metadata sheet {sheet.path}", *(f"  {note}" for note in notes)]
    tables.write(args.out)
    lines += write_figures(args.out, tables)
    _print_sizes(tables)
    print(*_left_out(dataset), *lines, sep="\n")
    print(f"tables and figures: {args.out}")
    return 0


def _left_out(dataset: Dataset) -> list[str]:
    """A line about each session that no table has."""
    lines = [
        f"left out: {c.files[0].relative_to(dataset.root)}: {c.problem}, expected {c.expected}"
        for c in dataset.conflicts
    ]
    unmasked = len(dataset.scans) - len(dataset.labeled)
    return [*lines, f"left out: {unmasked} without a lesion mask"] if unmasked else lines


def _print_sizes(tables: Tables) -> None:
    from lesions.statistics import size_category

    voxels = tables.lesions_3d["voxels"].sum()
    print(f"{tables.dataset}: {len(tables.lesions_3d)} subjects, {voxels:,} lesion voxels")
    for table, frame in [("3d", tables.lesions_3d), *tables.planes.items()]:
        category = size_category(frame["voxels"].to_numpy(), table, tables.grid)
        counts = ", ".join(f"{(category == k).sum():,}" for k in range(1, 7))
        print(f"  {table:8} n {len(frame):6,}  by size category: {counts}")
