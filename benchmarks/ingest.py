"""NiftiExampleGen against what no ingest can do without, and against a PNG per slice: python benchmarks/ingest.py DATA.

DATA is a data set at 1 mm, such as `raxnet phantom DATA --subjects 8` writes. Measured by turns, the least of some
repetitions, every subject `--times` times under other names so that starting Beam does not count for much:
the floor, which is decompressing the files, copying the slices of three planes and writing the bytes of the records in
one go; the component itself with one and two workers, which are threads, and with two processes; and, on one subject,
nibabel with an image and a mask PNG a slice.
Per core means by processor time, of all threads and children together: it hardly depends on what else the machine does.
`--float32` writes the scans anew as float32, as ATLAS has them. `--memory 20 200` prints the peak memory of a process
that ingests so many subjects instead.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import nibabel as nib
import numpy as np
import pandas as pd
from isal import igzip
from PIL import Image

from common import machine
from lesions import nifti
from lesions.dataset import Scan, discover
from lesions.grid import Volume
from lesions.ingest import projected_bytes
from lesions.manifest import Manifest
from lesions.parallel import WORKERS
from lesions.slices import PLANES, cut
from lesions.statistics import compute_tables

BEAM = ["--runner=FnApiRunner", "--sdk_container_image=unused"]
PROCESSES = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
HEADER = 352


@dataclass(frozen=True)
class Cost:
    """Seconds that something took for some subjects."""

    wall: float
    processor: float


@cache
def slice_tables(image: Path, mask: Path) -> dict[str, pd.DataFrame]:
    """What the ingest holds its records against, of one scan."""
    return compute_tables([Scan("", "", image, mask)]).slices


def write_tables(scans: Sequence[Scan], folder: Path) -> None:
    folder.mkdir()
    for plane in PLANES:
        rows = [slice_tables(s.image, s.mask)[plane].assign(subject=s.subject) for s in scans]
        pd.concat(rows).to_csv(folder / f"slices_{plane}.csv", index=False)


def component(
    scans: Sequence[Scan],
    out: Path,
    workers: int,
    more: Sequence[str] = (),
    runner: Sequence[str] = BEAM,
    store: Path | None = None,
    folds: int = 1,
) -> None:
    """NiftiExampleGen's executor on scans that are checked already; without a store, all is written."""
    from tfx.types import standard_artifacts

    from components import artifacts
    from components.nifti_example_gen import Executor

    def artifact(kind: type, uri: Path) -> list:
        made = kind()
        made.uri = str(uri)
        return [made]

    grid = nifti.read_grid(scans[0].image)
    Manifest("benchmark", True, "cohort", "0", grid, tuple(scans), (), ()).write(out / "manifest")
    (out / "folds").mkdir()
    table = pd.DataFrame({"subject": [scan.subject for scan in scans]})
    table.assign(fold=1 + table.index % folds).to_csv(out / "folds/folds.csv", index=False)
    write_tables(scans, out / "tables")
    inputs = {
        "manifest": artifact(artifacts.Manifest, out / "manifest"),
        "fold_map": artifact(artifacts.FoldMap, out / "folds"),
        "tables": artifact(artifacts.LesionTables, out / "tables"),
    }
    outputs = {f"examples_{p}": artifact(standard_artifacts.Examples, out / p) for p in PLANES}
    os.environ[WORKERS] = str(workers)
    context = Executor.Context(beam_pipeline_args=[*runner, *more], tmp_dir=str(out / "tmp"), unique_id="1")
    kept = {"store": str(store or out / "records"), "record_code": "benchmark"}
    Executor(context).Do(inputs, outputs, kept | {"code": ""})


def floor(scans: Sequence[Scan], out: Path, record_bytes: int) -> None:
    """What no ingest can do without, in the files' own types."""
    records = bytes(record_bytes)
    with (out / "records").open("wb") as stream:
        for scan in scans:
            for path in (scan.image, scan.mask):
                header = nib.load(path).header
                with igzip.open(path) as packed:
                    content = packed.read()
                voxels = np.frombuffer(content, header.get_data_dtype(), offset=HEADER)
                volume = voxels.reshape(header.get_data_shape(), order="F")
                for plane in PLANES:
                    np.ascontiguousarray(cut(volume, plane))
            stream.write(records)


def peers(scans: Sequence[Scan], out: Path) -> None:
    """nibabel, and PIL for an image and a mask of every slice that is not background."""
    for scan in scans:
        image = nib.load(scan.image).get_fdata()
        mask = nib.load(scan.mask).get_fdata()
        for plane in PLANES:
            for number, (pixels, truth) in enumerate(zip(cut(image, plane), cut(mask, plane), strict=True)):
                if pixels.max() > 0:
                    name = f"{out}/{scan.subject}-{plane}-{number:03d}"
                    Image.fromarray((255 * pixels / pixels.max()).astype(np.uint8)).save(f"{name}.png")
                    Image.fromarray((255 * (truth > 0)).astype(np.uint8)).save(f"{name}-mask.png")


def spent(work: Callable[[Path], None]) -> Cost:
    """Runs something that writes into a new folder."""

    def processor() -> float:
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    with tempfile.TemporaryDirectory() as folder:
        wall, start = time.perf_counter(), processor()
        work(Path(folder))
        return Cost(time.perf_counter() - wall, processor() - start)


def least(costs: Sequence[Cost], subjects: int) -> Cost:
    """Per subject, of some repetitions."""
    return Cost(min(c.wall for c in costs) / subjects, min(c.processor for c in costs) / subjects)


def repeated(scans: Sequence[Scan], count: int) -> list[Scan]:
    """So many subjects, the given ones again and again under other names."""
    return [replace(scans[i % len(scans)], subject=f"sub-{i:04d}") for i in range(count)]


def as_float32(scans: Sequence[Scan], folder: Path) -> list[Scan]:
    """The same scans with voxels that are no whole numbers, gzipped as before."""
    made = []
    for scan in scans:
        volume = nifti.read(scan.image)
        path = folder / scan.image.name
        nifti.write(path, Volume(volume.data * np.float32(1 / 7.3), volume.grid))
        made.append(replace(scan, image=path))
    return made


def measured(scans: Sequence[Scan], times: int, repeats: int) -> tuple[dict[str, Cost], int]:
    """Cost per subject of every way, and the slices of a subject."""
    many = repeated(scans, times * len(scans))
    size, slices = _size(many)
    planned = projected_bytes(nifti.read_grid(scans[0].image), 1)
    print(f"records: {size / 1e6:.1f} MB a subject in {slices} slices; planned for: {planned / 1e6:.1f} MB\n")
    ways = {
        "floor": lambda out: floor(many, out, size),
        "1 worker": lambda out: component(many, out, 1),
        "2 workers": lambda out: component(many, out, 2),
        "2 processes": lambda out: component(many, out, 2, PROCESSES),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            costs[name].append(spent(way))
    found = {name: least(list_of, len(many)) for name, list_of in costs.items()}
    found["a PNG per slice"] = spent(lambda out: peers(scans[:1], out))
    return found, slices


def _size(scans: Sequence[Scan]) -> tuple[int, int]:
    """Bytes of the records of a subject, and their number, on average; a first run that is not timed."""
    with tempfile.TemporaryDirectory() as folder:
        component(scans, Path(folder), 2)
        shards = list(Path(folder).glob("*/Split-*/*"))
        rows = sum(len(np.load(path)) for path in Path(folder).glob("*/index/*/*.npy"))
        return sum(path.stat().st_size for path in shards) // len(scans), rows // len(scans)


def print_peak(data: Path, counts: Sequence[int]) -> None:
    """Peak memory of fresh processes that ingest so many subjects, and of one that only imports."""
    for count in (0, *counts):
        command = [sys.executable, __file__, str(data), "--child", str(count)]
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
        )
        print(
            f"{count:4d} subjects: peak {int(done.stdout) / 1024:,.0f} MiB" + " (imports alone)" * (not count)
        )


def ingest_and_tell_peak(scans: Sequence[Scan], count: int) -> None:
    from components import nifti_example_gen  # noqa: F401 - what a process needs without any subject

    if count:
        with tempfile.TemporaryDirectory() as folder:
            component(repeated(scans, count), Path(folder), 2)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def tell(found: dict[str, Cost], slices: int) -> None:
    base, png = found["floor"], found["a PNG per slice"]
    rows = {
        name: {
            "subjects/s": 1 / cost.wall,
            "slices/s": slices / cost.wall,
            "s a subject": cost.wall,
            "processor s a subject": cost.processor,
            "x floor, per core": cost.processor / base.processor,
            "faster than PNG, per core": png.processor / cost.processor,
        }
        for name, cost in found.items()
    }
    print(pd.DataFrame(rows).T.to_string(float_format="{:.3g}".format))
    print("\ngoals: 2 x floor or less per core, 5 x faster than PNG or more")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--times", type=int, default=2, help="how often each subject is ingested in a run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--float32", action="store_true", help="with the scans written anew as float32")
    parser.add_argument(
        "--memory", type=int, nargs="+", metavar="N", help="peak memory with N subjects instead"
    )
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    scans = list(discover(given.data).labeled)
    if given.child is not None:
        ingest_and_tell_peak(scans, given.child)
    elif given.memory:
        print_peak(given.data, given.memory)
    else:
        with tempfile.TemporaryDirectory() as folder:
            used = as_float32(scans, Path(folder)) if given.float32 else scans
            kind = nib.load(used[0].image).get_data_dtype()
            print(
                f"{len(used)} subjects of {kind}, each {given.times} times, {machine.processors()} processors\n"
            )
            tell(*measured(used, given.times, given.repeats))


if __name__ == "__main__":
    main()
