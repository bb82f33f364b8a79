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


SHOWN = 10  # files of one kind of finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("dataset", metavar="DATASET", type=Path, help="folder of an ATLAS or BIDS tree")
    parser.add_argument("--all", action="store_true", help=f"list every file, not {SHOWN} of each kind")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument(
        "--strict", action="store_true", help="exit with 2 where there is an error or a warning"
    )
    parser.add_argument("--workers", metavar="N", type=int, default=1, help="processes (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Prints the findings; exit status 2 where nothing is usable or, if strict, where strict work would stop."""
    from lesions.checks import inspect_dataset, put_aside, stopping
    from lesions.dataset import discover
    from lesions.ingest import projected_bytes
    from lesions.progress import to_log

    dataset = discover(args.dataset)
    grid, usable, findings = inspect_dataset(dataset, args.workers, to_log("checking"))
    aside = put_aside(findings)
    if args.json:
        content = {
            "root": str(dataset.root),
            "name": dataset.name,
            "layout": dataset.layout,
            "phantom": dataset.phantom,
            "scans": len(dataset.scans),
            "with_mask": len(dataset.labeled),
            "usable": [scan.subject for scan in usable],
            "put_aside": aside,
            "grid": grid.as_json() if grid else None,
            "findings": [asdict(finding) for finding in findings],
        }
        print(json.dumps(content, indent=2))
    else:
        _print_table(findings, len(findings) if args.all else SHOWN)
        print(
            f"{dataset.name} ({dataset.layout} tree): {len(dataset.scans)} scans, "
            f"{len(dataset.labeled)} with a lesion mask, {len(usable)} usable, {len(aside)} put aside"
        )
        if grid:
            size = projected_bytes(grid, len(usable)) / 1e9
            print(f"their records in three planes, should all be ingested: {size:.1f} GB at most")
    return 2 if not usable or (args.strict and stopping(findings)) else 0


def _print_table(findings: Sequence[Finding], most: int) -> None:
    """A block for each kind of finding, gravest and most frequent first: files, what was expected and found."""
    from lesions.checks import SEVERITIES

    kinds: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        kinds.setdefault((finding.severity, finding.problem, finding.remedy), []).append(finding)
    order = sorted(kinds, key=lambda kind: (SEVERITIES.index(kind[0]), -len(kinds[kind]), kind))
    for severity, problem, remedy in order:
        same = kinds[severity, problem, remedy]
        count = "1 file" if len(same) == 1 else f"{len(same)} files"
        print(f"{severity}: {problem}, {count}; {remedy}")
        rows = [("file", "expected", "found"), *((f.file, f.expected, f.found) for f in same[:most])]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        for row in rows:
            print("  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())
        if len(same) > most:
            print(f"  and {len(same) - most} more (--all lists them)")
        print()
