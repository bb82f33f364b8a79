"""`raxnet check`: every file of a data set, opened; what is wrong, and how to mend it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lesions.checks import Finding

HELP = "read every file of a data set and list what is wrong with it"
EXAMPLE = "raxnet check ATLAS_2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("dataset", metavar="DATASET", type=Path, help="folder of an ATLAS or BIDS tree")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--strict", action="store_true", help="exit with 2 where any file would be put aside")
    parser.add_argument("--workers", metavar="N", type=int, default=1, help="processes (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Prints the findings; exit status 2 where nothing is usable or, if strict, where a scan is put aside."""
    from lesions.checks import ERROR, inspect_dataset
    from lesions.dataset import discover
    from lesions.ingest import projected_bytes
    from lesions.progress import to_log

    dataset = discover(args.dataset)
    grid, usable, findings = inspect_dataset(dataset, args.workers, to_log("checking"))
    if args.json:
        content = {
            "root": str(dataset.root),
            "name": dataset.name,
            "layout": dataset.layout,
            "phantom": dataset.phantom,
            "scans": len(dataset.scans),
            "with_mask": len(dataset.labeled),
            "usable": [scan.subject for scan in usable],
            "grid": grid.as_json() if grid else None,
            "findings": [asdict(finding) for finding in findings],
        }
        print(json.dumps(content, indent=2))
    else:
        _print_table(findings)
        print(
            f"{dataset.name} ({dataset.layout} tree): {len(dataset.scans)} scans, "
            f"{len(dataset.labeled)} with a lesion mask, {len(usable)} usable"
        )
        if grid:
            size = projected_bytes(grid, len(usable)) / 1e9
            print(f"their records in three planes, should all be ingested: {size:.1f} GB at most")
    errors = any(finding.severity == ERROR for finding in findings)
    return 2 if not usable or (args.strict and errors) else 0


def _print_table(findings: Sequence[Finding]) -> None:
    """One row per finding; nothing where there is none."""
    if not findings:
        return
    header = ("", "file", "what is wrong", "expected", "found", "how to mend it")
    rows = [(f.severity, f.file, f.problem, f.expected, f.found, f.remedy) for f in findings]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()
