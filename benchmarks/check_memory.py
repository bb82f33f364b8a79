"""What a worker of the checks takes at most: python benchmarks/check_memory.py [--spacing MM] [--scans N].

For each type of voxel a data set of a few scans on ATLAS's grid is written, compressed, and checked by two workers.
Their peak resident memory is read from /proc (Linux) while they work, and compared with what a worker takes before its
first scan: Python and the libraries.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import threading
from importlib.resources import files
from pathlib import Path

import numpy as np

from common import machine
from lesions import nifti
from lesions.checks import check_dataset
from lesions.dataset import discover
from lesions.grid import Volume, resample, template_grid
from lesions.mni import TEMPLATE
from lesions.parallel import map_subjects

WORKERS = 2


def peak(pid: int | str = "self") -> float:
    """Largest resident memory that a process had so far, MB; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def idle(_: int) -> float:
    """Peak of a worker that has imported what the checks need, and done nothing."""
    import lesions.checks  # noqa: F401

    return peak()


def write(root: Path, dtype: type, scans: int, spacing: float) -> float:
    """Writes noisy heads with a mask, and returns the size of one scan in memory, MB."""
    brain = resample(nifti.read(files("nilearn.datasets.data") / TEMPLATE), template_grid(spacing))
    noise = np.random.default_rng(0).normal(0, 5, brain.data.shape).astype(np.float32)
    image = Volume((brain.data + np.abs(noise)).astype(dtype), brain.grid)
    mask = Volume((brain.data > 200).astype(np.uint8), brain.grid)
    for number in range(scans):
        name = f"sub-{number}"
        anat = root / name / "anat"
        nifti.write(anat / f"{name}_T1w.nii.gz", image)
        nifti.write(anat / f"{name}_label-L_desc-T1lesion_mask.nii.gz", mask)
    return image.data.nbytes / 2**20


def measure(root: Path) -> list[float]:
    """Peaks of the workers that check a data set, MB, most first."""
    peaks: dict[int, float] = {}
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            for worker in multiprocessing.active_children():
                if worker.pid is not None:
                    peaks[worker.pid] = max(peaks.get(worker.pid, 0.0), peak(worker.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        check_dataset(discover(root), WORKERS)
    finally:
        stop.set()
        watcher.join()
    return sorted(peaks.values(), reverse=True)


def main() -> None:
    """Prints a line per type."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spacing", type=float, default=1.0, help="mm (default: 1)")
    parser.add_argument("--scans", type=int, default=4)
    args = parser.parse_args()
    base = max(map_subjects(idle, [0, 1], str, WORKERS))
    print(
        f"{args.scans} scans of {template_grid(args.spacing).shape}, {WORKERS} workers, "
        f"{machine.processors()} processors"
    )
    for dtype in (np.float32, np.int16, np.float64):
        with tempfile.TemporaryDirectory() as folder:
            size = write(Path(folder), dtype, args.scans, args.spacing)
            most = measure(Path(folder))[0]
        print(
            f"{np.dtype(dtype).name:8} scan {size:5.1f} MB: a worker's peak {most:4.0f} MB, "
            f"{base:.0f} MB of it before the first scan"
        )


if __name__ == "__main__":
    main()
