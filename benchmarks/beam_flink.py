"""The ingest on a Flink cluster against the local runner: python benchmarks/beam_flink.py DATA.

DATA is a data set such as `raxnet phantom DATA --subjects 96 --spacing 1.5` writes. Each way ingests its first few and
then all of its subjects, by turns, `--repeats` times; the least times count. Two sizes tell start-up from throughput:
what a subject more takes, and what is left where there are none. The ways: the local runner with one worker and with
two; the cluster of deploy/flink with one TaskManager and with two, whose start is timed apart.

From which size on does a cluster pay? Where its start-up, divided among the subjects, is less than what it gains on
each. On one machine it shares the processors with the local runner; for clusters of several machines the sizes are
computed, not measured: so many TaskManagers, each as fast as the one measured alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pandas as pd
from ingest import component, spent

from common import machine
from lesions.dataset import Scan, discover
from pipeline.beam import load_profile
from pipeline.config import BEAM_LOCAL
from pipeline.console import quiet

CLUSTER = Path(__file__).resolve().parent.parent / "deploy" / "flink" / "cluster.py"


@dataclass(frozen=True)
class Way:
    """How the ingest runs: workers on the local runner, or TaskManagers."""

    name: str
    workers: int = 0
    task_managers: int = 0

    def run(self, scans: Sequence[Scan], out: Path) -> None:
        """Ingests some subjects."""
        os.environ["RAXNET_FLINK_PARALLELISM"] = str(self.task_managers)
        runner = load_profile("flink") if self.task_managers else BEAM_LOCAL
        component(scans, out, self.workers, runner=runner)


LOCAL = (Way("local, 1 worker", workers=1), Way("local, 2 workers", workers=2))
FLINK = (Way("1 TaskManager", task_managers=1), Way("2 TaskManagers", task_managers=2))


def cluster(*arguments: str) -> float:
    """Seconds that a command of the cluster takes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, str(CLUSTER), *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(ways: Sequence[Way], scans: Sequence[Scan], sizes: Sequence[int], repeats: int) -> pd.DataFrame:
    """Least seconds of every way and size; a first run of each way, which warms caches, is not counted."""
    rows = []
    for way in ways:
        spent(lambda out, way=way: way.run(scans[: sizes[0]], out))
    for _ in range(repeats):
        for size in sizes:
            for way in ways:
                cost = spent(lambda out, way=way, size=size: way.run(scans[:size], out))
                rows.append((way.name, size, cost.wall))
                print(f"  {way.name}, {size} subjects: {cost.wall:.1f} s", file=sys.stderr, flush=True)
    return pd.DataFrame(rows, columns=["way", "subjects", "s"]).pivot_table(
        "s", "way", "subjects", aggfunc="min"
    )


def split(seconds: pd.DataFrame) -> pd.DataFrame:
    """Start-up and throughput of each way, by the two sizes."""
    small, large = seconds.columns
    a_subject = (seconds[large] - seconds[small]) / (large - small)
    return seconds.assign(start_up=seconds[small] - small * a_subject, a_subject=a_subject)


def pays_from(local: pd.Series, start_up: float, a_subject: float) -> str:
    """The number of subjects from which a cluster is faster than the local runner."""
    gain = local["a_subject"] - a_subject
    return f"{(start_up - local['start_up']) / gain:,.0f} subjects" if gain > 0 else "never"


def tell(found: pd.DataFrame, starts: dict[str, float]) -> None:
    print(
        found.rename(columns=lambda name: name if isinstance(name, str) else f"{name} subjects").to_string(
            float_format="{:.3g}".format
        )
    )
    print("seconds; the cluster itself: " + ", ".join(f"{name} {s:.0f} s" for name, s in starts.items()))
    local, one = found.loc[LOCAL[1].name], found.loc[FLINK[0].name]
    print(f"\npays against {LOCAL[1].name}, the cluster being up:")
    for way in FLINK:
        print(
            f"  {way.name}, here: {pays_from(local, found.loc[way.name, 'start_up'], found.loc[way.name, 'a_subject'])}"
        )
    start_up = max(found.loc[way.name, "start_up"] for way in FLINK)
    for count in (4, 8, 16):
        size = pays_from(local, start_up, one["a_subject"] / count)
        print(f"  {count} TaskManagers as fast as the one, computed: {size}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--few", type=int, default=8, help="the smaller size")
    parser.add_argument("--repeats", type=int, default=2)
    given = parser.parse_args()
    quiet()
    scans = list(discover(given.data).labeled)
    sizes = (given.few, len(scans))
    print(f"{len(scans)} subjects, {machine.processors()} processors, load {os.getloadavg()[0]:.1f}\n")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RAXNET_FLINK"] = folder
        try:
            starts = {"start with one TaskManager": cluster("start", "--task-managers", "1")}
            found = measure(FLINK[:1], scans, sizes, given.repeats)
            starts["a second one"] = cluster("start", "--task-managers", "2")
            found = pd.concat([found, measure([FLINK[1], *LOCAL], scans, sizes, given.repeats)])
        finally:
            cluster("stop")
    tell(split(found), starts)


if __name__ == "__main__":
    main()
