"""`raxnet batches`: one epoch's plan, as the trainer draws it."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write one epoch's batch plan and its quality"
EXAMPLE = "raxnet batches tables split/folds.csv plan --plane axial --validation-fold 1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("tables", metavar="TABLES", type=Path, help="folder that raxnet stats wrote")
    parser.add_argument("folds", metavar="FOLDS", type=Path, help="folds.csv, or the folder that holds it")
    parser.add_argument(
        "out", metavar="OUT", type=Path, help="folder for batches.csv and batches_quality.csv"
    )
    parser.add_argument("--plane", required=True, choices=("axial", "sagittal", "coronal"))
    parser.add_argument(
        "--validation-fold", metavar="K", type=int, required=True, help="left out of training"
    )
    parser.add_argument(
        "--batch-size", metavar="N", type=int, default=32, help="half lesion slices (default: 32)"
    )
    parser.add_argument(
        "--seed", metavar="S", type=int, default=0, help="same seed, same batches (default: 0)"
    )
    parser.add_argument("--epoch", metavar="E", type=int, default=0, help="epochs differ (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Writes the plan and prints how well its batches mirror the whole; exit status 0."""
    import numpy as np

    from lesions import batches
    from lesions.files import require_writable, write_csv
    from lesions.folds import check_folds, read_folds
    from lesions.statistics import read_tables

    tables = read_tables(args.tables)
    folds = read_folds(args.folds / "folds.csv" if args.folds.is_dir() else args.folds)
    check_folds(folds, tables.lesions_3d["subject"])
    require_writable(args.out)
    rows = batches.training_slices(tables, folds, args.plane, args.validation_fold)
    category = rows["category"].to_numpy()
    plan = batches.plan(category, args.batch_size, args.seed, args.epoch)
    report = batches.quality(category, plan)
    least = batches.minimum_tv(category, args.batch_size)
    table = rows.iloc[np.concatenate(plan)].reset_index(drop=True)
    table.insert(0, "batch", np.repeat(np.arange(1, len(plan) + 1), [len(batch) for batch in plan]))
    write_csv(args.out / "batches.csv", table)
    write_csv(args.out / "batches_quality.csv", report.assign(mean_tv=report["tv"].mean(), minimum_tv=least))
    plain = batches.quality(category, batches.plain_plan(category, args.batch_size, args.seed, args.epoch))
    print(
        f"{args.plane}, validation fold {args.validation_fold}: {len(plan)} batches, "
        f"{report['n'].sum():,} lesion slices, each once; mean TV {report['tv'].mean():.4f}, "
        f"theoretical minimum {least:.4f}, plain shuffling {plain['tv'].mean():.4f}"
    )
    if not (category == batches.NORMAL).any():
        print(
            f"lesion halves alone: {args.tables}/slices_{args.plane}.csv is missing or lists no normal slice"
        )
    print(f"plan: {args.out}")
    return 0
