"""Seconds that `raxnet segment` takes for one 1 mm scan: python benchmarks/segment.py [MODELS].

The scan is a phantom of 197 x 233 x 189 voxels. It is segmented with untrained RAX-Nets of its own size, since weights
do not change the time, and with MODELS where given, such as demo/serving_models. Start of the program included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import serving_models

from common import machine
from lesions import nifti
from lesions.grid import template_grid
from lesions.phantom import make_subject
from lesions.slices import PLANES


def write_untrained(folder: Path) -> None:
    """A RAX-Net per plane for 1 mm slices, as Pusher leaves them."""
    grid = template_grid(1.0)
    for plane in PLANES:
        serving_models.write(serving_models.build(grid, plane), grid, plane, folder)


def seconds(scan: Path, models: Path, repeats: int) -> float:
    """The least wall time of some runs of the command."""
    taken = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as out:
            command = [
                sys.executable,
                "-m",
                "pipeline.cli.main",
                "segment",
                str(scan),
                out,
                "--models",
                str(models),
            ]
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("models", type=Path, nargs="?", help="folder of trained models")
    parser.add_argument("--repeats", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        scan, untrained = Path(work) / "scan_T1w.nii.gz", Path(work) / "models"
        nifti.write(scan, make_subject(0, 0, 1.0)[0])
        write_untrained(untrained)
        for name, models in (("networks of the scan's size", untrained), (str(given.models), given.models)):
            if models is not None:
                print(
                    f"{name}: {seconds(scan, models, given.repeats):.0f} s, {machine.processors()} processors",
                    flush=True,
                )


if __name__ == "__main__":
    main()
