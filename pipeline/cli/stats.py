"""`raxnet stats`: tables and figures of the lesions of a data set."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write tables and figures of the lesions of a data set"
EXAMPLE = "raxnet stats ATLAS_2 tables --workers 4"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("dataset", metavar="DATASET", type=Path, help="folder of an ATLAS or BIDS tree")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder for the tables")
    parser.add_argument("--workers", metavar="N", type=int, default=1, help="processes (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Writes the tables and prints a line about each; exit status 0."""
    from lesions.dataset import discover
    from lesions.files import require_writable
    from lesions.progress import to_log
    from lesions.statistics import compute_tables, size_category
    from pipeline.cli.figures import write_size_figures

    dataset = discover(args.dataset)
    require_writable(args.out)
    tables = compute_tables(dataset.scans, args.workers, to_log("measuring lesions"))
    tables.write(args.out)
    write_size_figures(args.out, tables)
    voxels = tables.lesions_3d["voxels"].sum()
    print(f"{dataset.name}: {len(tables.lesions_3d)} subjects, {voxels:,} lesion voxels")
    for table, frame in [("3d", tables.lesions_3d), *tables.planes.items()]:
        category = size_category(frame["voxels"].to_numpy(), table, tables.grid)
        counts = ", ".join(f"{(category == k).sum():,}" for k in range(1, 7))
        print(f"  {table:8} n {len(frame):6,}  by size category: {counts}")
    print(f"tables and figures: {args.out}")
    return 0
