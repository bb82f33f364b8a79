"""The hold-out's masks and 3-D scores."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lesions import metrics, nifti
from lesions.dataset import Scan
from lesions.grid import Grid, Volume
from lesions.ingest import read_subject
from lesions.progress import Progress
from serving.predictor import Predictor
from serving.segmenter import segment

PLANE_THRESHOLD = 0.5  # a plane's own mask is probability > 0.5 (raxnet.md, 9)


def evaluate_holdout(
    scans: Sequence[Scan],
    grid: Grid,
    predictor: Predictor,
    rule: str,
    threshold: float,
    masks: Path,
    progress: Progress,
) -> pd.DataFrame:
    """Segments and scores every scan; none is left out.

    Args:
        scans: Of the hold-out.
        grid: Of the data set.
        predictor: The chosen models.
        rule: mean or majority.
        threshold: Of the fused probability.
        masks: Folder for `<subject>.nii.gz`.
        progress: Told after each subject.

    Returns:
        subject, prediction (a plane or "fused"), lesion_voxels, tp, fp, fn, dice, recall, precision (plain, not
        smoothed), volume_difference (voxels), image, truth, mask (paths).
    """
    phantom = any(predictor.card(plane).phantom for plane in predictor.planes)
    note = f"raxnet lesion mask; models trained on {'PHANTOM data' if phantom else 'real scans'}"
    rows = []
    for done, scan in enumerate(scans, start=1):
        image, truth = read_subject(scan, grid)
        found = segment(image, predictor, rule=rule, threshold=threshold)
        path = masks / f"{scan.subject}.nii.gz"
        nifti.write(path, Volume(found.mask.data, image.grid), note)
        predictions = {p: volume > PLANE_THRESHOLD for p, volume in found.plane_probabilities.items()}
        for name, predicted in (predictions | {"fused": found.mask.data > 0}).items():
            row = {"subject": scan.subject, "prediction": name} | _scores(truth, predicted)
            rows.append(row | {"image": str(scan.image), "truth": str(scan.mask), "mask": str(path)})
        progress(done, len(scans))
    return pd.DataFrame(rows)


def _scores(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    tp = int((truth & predicted).sum())
    fp, fn = int(predicted.sum()) - tp, int(truth.sum()) - tp
    scores = {
        name: float(getattr(metrics, name)(tp, fp, fn, 0.0)) for name in ("dice", "recall", "precision")
    }
    return (
        {"lesion_voxels": tp + fn, "tp": tp, "fp": fp, "fn": fn}
        | scores
        | {"volume_difference": abs(fp - fn)}
    )
