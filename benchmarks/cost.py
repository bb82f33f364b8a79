"""What a data set takes in disk, hours and money: python benchmarks/cost.py DATA.

DATA is a data set at 1 mm, such as `raxnet phantom DATA --subjects 8 --spacing 1` writes. Measured here, in wall time
of one worker: checking, lesion tables and records, each per subject. Training and segmenting are given as rates
(`benchmarks/train_step_jax.py`, `benchmarks/serving.py`), and so is what a training keeps; to evaluate a subject is
taken to last as long as to segment it. Prices, in any currency per hour of a processor and of a GPU, are yours.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import atlas_hours
import pandas as pd

from lesions.checks import check_dataset
from lesions.dataset import Scan, discover
from lesions.grid import Grid
from lesions.ingest import read_subject, slices_of
from lesions.slices import PLANES
from lesions.statistics import compute_tables
from trainer.record_store import RecordStore

ATLAS, FOLDS = 655, 5
HELD_OUT = 132 / ATLAS


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--subjects", type=int, nargs="+", default=[ATLAS, 65_000])
    parser.add_argument("--slices-per-second", type=float, default=2828, help="of a training on one GPU")
    parser.add_argument("--epochs", type=int, default=500)
    parser.add_argument("--kept", type=float, default=77e6, help="bytes that a training keeps")
    parser.add_argument("--segment", type=float, default=26.4, help="processor seconds a scan")
    parser.add_argument("--processor-price", type=float, default=0.05, help="an hour of one processor")
    parser.add_argument("--gpu-price", type=float, default=3.0, help="an hour of one GPU")
    return parser.parse_args()


def measured(data: Path) -> tuple[dict[str, float], float, float]:
    """Seconds a subject by step, bytes of a subject's scan and mask, and of its records."""
    dataset = discover(data)
    times = {}
    start = time.perf_counter()
    checked = check_dataset(dataset)
    times["check"] = time.perf_counter() - start
    start = time.perf_counter()
    compute_tables(checked.usable)
    times["lesion tables"] = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        store = RecordStore(Path(folder), "code")
        start = time.perf_counter()
        for scan in checked.usable:
            written(store, scan, checked.grid)
        times["records"] = time.perf_counter() - start
        records = store.bytes_kept()
    count = len(checked.usable)
    files = sum(path.stat().st_size for scan in checked.usable for path in (scan.image, scan.mask) if path)
    return {step: seconds / count for step, seconds in times.items()}, files / count, records / count


def written(store: RecordStore, scan: Scan, grid: Grid) -> None:
    """What the ingest does with a subject, but for Beam."""
    key = store.key(scan, grid)
    image, mask = read_subject(scan, grid)
    store.add(key, {plane: slices_of(scan.subject, image, mask, plane) for plane in PLANES})


def table(given: argparse.Namespace, subjects: int, seconds: dict[str, float]) -> pd.DataFrame:
    """Step, machine, hours and price; subjects are like ATLAS's."""
    share = subjects / ATLAS
    slices = 2 * sum(atlas_hours.LESION_SLICES.values()) * atlas_hours.TRAINED * share * FOLDS * given.epochs
    amounts = {"check": 1.0, "lesion tables": 1.0, "records": 1 - HELD_OUT}
    hours = {step: seconds[step] * subjects * amount / 3600 for step, amount in amounts.items()}
    hours["evaluating the folds"] = given.segment * subjects * (1 - HELD_OUT) / 3600
    hours["segmenting the hold-out"] = given.segment * subjects * HELD_OUT / 3600
    rows = [(step, "one processor", spent, spent * given.processor_price) for step, spent in hours.items()]
    training = slices / given.slices_per_second / 3600
    rows.append(
        (f"training, {len(PLANES)} planes x {FOLDS} folds", "one GPU", training, training * given.gpu_price)
    )
    return pd.DataFrame(rows, columns=["step", "on", "hours", "price"])


def main() -> None:
    given = parsed()
    seconds, scan, records = measured(given.data)
    print("Seconds a subject, one worker:", {k: round(v, 3) for k, v in seconds.items()})
    for subjects in given.subjects:
        ingested = records * subjects * (1 - HELD_OUT) / 1e9
        print(
            f"\n{subjects} subjects: scans {scan * subjects / 1e9:.1f} GB, records {ingested:.1f} GB, "
            f"checkpoints {given.kept * len(PLANES) * FOLDS / 1e9:.1f} GB"
        )
        print(table(given, subjects, seconds).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
