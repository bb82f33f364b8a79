"""Draws the README's picture from a finished demo: python benchmarks/demo_picture.py demo docs/demo.png."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

from lesions import nifti
from lesions.slices import PLANES
from pipeline.local_runner import newest
from reports.style import new_figure

SHOWN = 3  # the best, the median and the worst but one of the hold-out


def draw(demo: Path, out: Path) -> None:
    """Scan, truth (blue) and fused prediction (orange) of three hold-out subjects, cut through the lesion."""
    evaluation = newest(demo, "FusionEvaluator/evaluation", "holdout.csv").parent
    rows = pd.read_csv(evaluation / "holdout.csv").merge(pd.read_csv(evaluation / "files.csv"), on="subject")
    fused = rows[rows["prediction"] == "fused"].sort_values("dice", ascending=False)
    figure = new_figure(9.0, 9.6)
    axes = figure.subplots(SHOWN, len(PLANES))
    for line, place in enumerate((0, len(fused) // 2, len(fused) - 2)):
        row = fused.iloc[place]
        image, truth, mask = (
            nifti.read(path).data
            for path in (Path(row["image"]), Path(row["truth"]), evaluation / "derivative" / row["mask"])
        )
        center = [int(truth.sum(axis=tuple(a for a in range(3) if a != axis)).argmax()) for axis in range(3)]
        for column, axis in enumerate((2, 0, 1)):
            view = axes[line, column]
            scan, true, found = (np.take(v, center[axis], axis) for v in (image, truth, mask))
            view.imshow(scan.T, origin="lower", cmap="gray", vmax=np.percentile(image, 99.5))
            for line_of, color in ((true, "#56B4E9"), (found, "#E69F00")):
                view.contour(line_of.T > 0, levels=[0.5], colors=[color], linewidths=1.2)
            view.set_axis_off()
        axes[line, 0].set_title(
            f"{row['subject']}: Dice {row['dice']:.2f}, lesion {int(row['lesion_voxels'])} voxels",
            loc="left",
            fontsize=9,
        )
    figure.suptitle("Phantom hold-out: truth blue, prediction orange", fontsize=10)
    figure.savefig(out, dpi=90)


if __name__ == "__main__":
    matplotlib.use("Agg")
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
