"""Renders phantom subjects for a reader to judge: python benchmarks/phantom_montage.py OUT.png [--spacing MM]."""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np

from lesions.phantom import make_subject
from lesions.slices import PLANES, cut

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def montage(out: Path, first: int, subjects: int, seed: int, spacing: float, planes: tuple[str, ...]) -> None:
    columns = 2 * len(planes)
    figure, axes = plt.subplots(subjects, columns, figsize=(2.6 * columns, 3.0 * subjects), squeeze=False)
    for row, index in enumerate(range(first, first + subjects)):
        image, mask = make_subject(index, seed, spacing)
        white = np.percentile(image.data[image.data > 0], 97)
        for place, plane in enumerate(planes):
            truth = cut(mask.data, plane)
            k = int(truth.sum(axis=(1, 2)).argmax())
            for column in (2 * place, 2 * place + 1):
                axis = axes[row, column]
                axis.imshow(cut(image.data, plane)[k].T, origin="lower", cmap="gray", vmin=0, vmax=white)
                axis.axis("off")
            axes[row, 2 * place + 1].contour(truth[k].T, levels=[0.5], colors="red", linewidths=0.7)
        axes[row, 0].set_title(f"{index}: {mask.data.sum() * spacing**3:,.0f} mm3", fontsize=9)
    figure.tight_layout(pad=0.3)
    figure.savefig(out, dpi=70)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--subjects", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spacing", type=float, default=1.0)
    parser.add_argument("--planes", nargs="+", choices=PLANES, default=list(PLANES))
    given = parser.parse_args()
    montage(given.out, given.first, given.subjects, given.seed, given.spacing, tuple(given.planes))


if __name__ == "__main__":
    main()
