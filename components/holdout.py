"""The hold-out: each subject segmented, scored in 3-D and slice by slice, and written as a BIDS derivative."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lesions import metrics, nifti, slices
from lesions.calibration import probability_histogram
from lesions.dataset import Scan
from lesions.grid import Grid
from lesions.ingest import read_subject
from lesions.progress import Progress
from lesions.scoring import score_volume
from lesions.statistics import size_category
from serving import derivative, sidecar
from serving.bids import UNCERTAINTY, InputScan, entities_of
from serving.predictor import Predictor
from serving.segmenter import Segmentation, segment

PLANE_THRESHOLD = (
    0.5  # a plane's own mask is probability > 0.5 (docs/spec/method.md#fusion-and-3-d-evaluation)
)
FUSED = "fused"


@dataclass(frozen=True, eq=False)
class Scored:
    """One subject of the hold-out.

    Attributes:
        volumes: A row per prediction (each plane, fused): subject, prediction, all of `lesions.scoring.score_volume`.
        slices: A row per plane and slice: subject, plane, slice, lesion_voxels, size_category, and tp, fp, fn of the
            plane's own mask (`_before`) and of the fused one (`_after`).
        histogram: Voxels by probability and truth, of each prediction (`lesions.calibration.probability_histogram`).
        uncertainty: subject, plane_disagreement, and the mean uncertainty in the mask and in its parts.
        files: subject, image, truth (paths), mask, probability, uncertainty (relative to the derivative).
    """

    volumes: list[dict[str, Any]]
    slices: pd.DataFrame
    histogram: pd.DataFrame
    uncertainty: dict[str, Any]
    files: dict[str, str]


def score_holdout(
    scans: Sequence[Scan],
    data: Path,
    grid: Grid,
    predictor: Predictor,
    out: Path,
    progress: Progress,
    **options: Any,
) -> Iterator[Scored]:
    """Segments, writes and scores every scan; none is left out.

    Args:
        scans: Of the hold-out.
        data: Folder of the data set, which sources are named from.
        grid: Of the data set, and so of the models.
        predictor: The chosen models.
        out: The derivative's folder, as `raxnet segment` writes it.
        progress: Told after each subject.
        options: rule, threshold and flip of `serving.segmenter.segment`.

    Yields:
        The subjects in order.
    """
    for number, scan in enumerate(scans, start=1):
        source = InputScan(scan.image, data, entities_of(scan.image))
        done = segment(nifti.read(scan.image), predictor, **options)
        derivative.save(source, out, done, predictor, sidecar.key(source, predictor, **options))
        image, truth = read_subject(scan, grid)
        fused = done.fused_mask > 0
        planes = {p: volume > PLANE_THRESHOLD for p, volume in done.plane_probabilities.items()}
        volumes = [
            {"subject": scan.subject, "prediction": name, **score_volume(truth, mask, grid.spacing)}
            for name, mask in {**planes, FUSED: fused}.items()
        ]
        probabilities = {**done.plane_probabilities, FUSED: done.fused_probability}
        histograms = [probability_histogram(p, truth).assign(prediction=n) for n, p in probabilities.items()]
        by_slice = [_slices(scan.subject, p, grid, image.data, truth, planes[p], fused) for p in planes]
        yield Scored(
            volumes,
            pd.concat(by_slice, ignore_index=True),
            pd.concat(histograms, ignore_index=True),
            {"subject": scan.subject, **_uncertainty(done, truth)},
            _files(scan, source, out, done),
        )
        progress(number, len(scans))


def _slices(
    subject: str,
    plane: str,
    grid: Grid,
    image: np.ndarray,
    truth: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
) -> pd.DataFrame:
    """Counts of every slice of a plane that is not background, or that holds lesion or prediction all the same."""
    true = slices.cut(truth, plane)
    table = pd.DataFrame({"slice": range(len(true)), "lesion_voxels": true.sum(axis=(1, 2))})
    table.insert(0, "plane", plane)
    table.insert(0, "subject", subject)
    table["size_category"] = size_category(table["lesion_voxels"].to_numpy(), plane, grid)
    for name, mask in (("before", before), ("after", after)):
        counts = metrics.confusion(true, slices.cut(mask, plane), axes=(1, 2))
        for kind, values in zip(("tp", "fp", "fn"), counts, strict=True):
            table[f"{kind}_{name}"] = values
    counted = table.filter(regex="^(tp|fp|fn)_").to_numpy().any(axis=1)
    filled = slices.cut(image, plane).max(axis=(1, 2)) > 0
    return table[filled | counted]


def _uncertainty(done: Segmentation, truth: np.ndarray) -> dict[str, Any]:
    """The planes' disagreement: one number over all, and the mean of the map in the mask and in its parts."""
    fused = done.fused_mask > 0
    parts = {"mask": fused, "true_positive": fused & truth, "false_positive": fused & ~truth}
    parts["false_negative"] = ~fused & truth
    row: dict[str, Any] = {"plane_disagreement": done.disagreement}
    row |= {f"voxels_{name}": int(part.sum()) for name, part in parts.items()}
    apart = None if done.uncertainty is None else nifti.canonical(done.uncertainty).data
    for name, part in parts.items():
        row[f"uncertainty_{name}"] = None
        if apart is not None and part.any():
            row[f"uncertainty_{name}"] = float(apart[part].mean(dtype=float))
    return row


def _files(scan: Scan, source: InputScan, out: Path, done: Segmentation) -> dict[str, str]:
    outputs = {"mask": source.output(out, "mask.nii.gz"), "probability": source.output(out, "probseg.nii.gz")}
    if done.uncertainty is not None:
        outputs["uncertainty"] = source.output(out, "probseg.nii.gz", UNCERTAINTY)
    relative = {name: path.relative_to(out).as_posix() for name, path in outputs.items()}
    return {"subject": scan.subject, "image": str(scan.image), "truth": str(scan.mask), **relative}
