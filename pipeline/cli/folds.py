"""`raxnet folds`: one subject -> fold map for all planes, and the proof of its quality."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "split the subjects into a hold-out and folds of equal lesion sizes"
EXAMPLE = "raxnet folds tables split --folds 5 --holdout 0.2 --seed 0"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("tables", metavar="TABLES", type=Path, help="folder that raxnet stats wrote")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder for folds.csv and folds_quality.csv")
    parser.add_argument("--folds", metavar="K", type=int, default=5, help="number of folds (default: 5)")
    parser.add_argument(
        "--holdout",
        metavar="F",
        type=float,
        default=0.2,
        help="share of the subjects kept out (default: 0.2)",
    )
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="same seed, same folds (default: 0)")
    parser.add_argument(
        "--import",
        dest="imported",
        metavar="FILE",
        type=Path,
        help="check and use this map instead: CSV with subject,fold or JSON {subject: fold}",
    )


def run(args: argparse.Namespace) -> int:
    """Writes the fold map and its quality, and prints the quality; exit status 0."""
    from lesions.files import require_writable, write_csv
    from lesions.folds import check_folds, make_folds, quality, read_folds
    from lesions.statistics import read_tables
    from pipeline.cli.figures import write_figures

    tables = read_tables(args.tables)
    require_writable(args.out)
    imported = read_folds(args.imported) if args.imported else None
    folds = make_folds(tables, args.folds, args.holdout, args.seed) if imported is None else imported
    check_folds(folds, tables.lesions_3d["subject"])
    report = quality(tables, folds)
    write_csv(args.out / "folds.csv", folds)
    write_csv(args.out / "folds_quality.csv", report)
    absent = write_figures(args.out, tables, folds, report)
    print("Each fold against the other folds, the hold-out (fold 0) against all of them:")
    print(report.round({"tv": 4, "ks": 4, "mwu_p": 3}).to_string(index=False))
    print(*absent, sep="\n", end="\n" if absent else "")
    print(f"{len(folds)} subjects, each in one fold; fold map, quality and figures: {args.out}")
    return 0
