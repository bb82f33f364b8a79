"""What the store of records saves: python benchmarks/ingest_store.py [--subjects 300] [--spacing 6].

A phantom is made, then ingested: first; again with nothing changed; with another fold map; with one subject more; and
after a kill half way (-9, of a real process). Printed: seconds, what share of the first ingest that is, and how many
subjects' records were written. Phantom figures of one run; starting Beam is in all of them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import ingest as by_component

from lesions.dataset import Scan, discover
from lesions.phantom import make_cohort


def entries(store: Path) -> set[str]:
    return {path.parent.name for path in store.glob("*/*/entry.json")}


def timed(scans: Sequence[Scan], folder: Path, store: Path, folds: int = 1) -> tuple[float, int]:
    """Seconds of an ingest, and the subjects that it wrote records of."""
    before, start = entries(store), time.perf_counter()
    by_component.component(scans, folder, 2, store=store, folds=folds)
    return time.perf_counter() - start, len(entries(store) - before)


def killed(data: Path, count: int, folder: Path, store: Path) -> None:
    """Ingests in a process of its own, and kills it when half of the subjects are there."""
    words = [sys.executable, __file__, "--child", str(data), str(count), str(folder), str(store)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        while len(entries(store)) < count // 2 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--subjects", type=int, default=300)
    parser.add_argument("--spacing", type=float, default=6.0, help="mm")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        data, count, folder, store = given.child
        scans = list(discover(Path(data)).scans)[: int(count)]
        by_component.component(scans, Path(folder), 2, store=Path(store))
        return
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), given.subjects, given.spacing)


def run(folder: Path, subjects: int, spacing: float) -> None:
    """Prints all of it."""
    make_cohort(folder / "data", subjects + 1, seed=1, spacing=spacing)
    scans = list(discover(folder / "data").scans)
    store, rows = folder / "store", []
    by_component.component(
        scans, folder / "warm", 2, store=folder / "other"
    )  # imports, lesion tables, files read once
    rows.append(("first", *timed(scans[:subjects], folder / "first", store)))
    rows.append(("nothing changed", *timed(scans[:subjects], folder / "again", store)))
    rows.append(("another fold map", *timed(scans[:subjects], folder / "folds", store, folds=5)))
    rows.append(("one subject more", *timed(scans, folder / "more", store)))
    shutil.rmtree(store)
    killed(folder / "data", subjects, folder / "killed", store)
    left = len(entries(store))
    rows.append((f"after a kill at {left}", *timed(scans[:subjects], folder / "on", store)))
    print(f"{subjects} subjects of {spacing:g} mm, two workers")
    for name, seconds, written in rows:
        print(
            f"{name}: {seconds:.1f} s, {seconds / rows[0][1]:.2f} of the first; records of {written} written"
        )


if __name__ == "__main__":
    main()
