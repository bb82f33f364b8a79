"""What is written beside a mask: its numbers, what made it, and what that was trained on."""

from __future__ import annotations

import hashlib
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from lesions.grid import SPACE, Volume
from serving.bids import InputScan
from serving.predictor import Predictor
from serving.segmenter import Segmentation

GENERATOR = "raxnet"
UNCERTAINTY = (
    "Where the planes disagree: at each voxel the largest less the smallest of their lesion probabilities, 0 (they "
    "agree) to 1 (one is sure of lesion, another of none), in steps of 0.001. Not a probability of error."
)
_SOFTWARE = ("raxnet-pipeline", "tensorflow", "numpy", "scipy", "nibabel")


def version(package: str = "raxnet-pipeline") -> str:
    """A package's version; "unknown" where it is not installed as one."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def statement(predictor: Predictor) -> str:
    """What the models were trained on: one sentence where they agree."""
    return " ".join(dict.fromkeys(predictor.card(plane).statement() for plane in predictor.planes))


def key(
    scan: InputScan,
    predictor: Predictor,
    rule: str,
    threshold: float,
    flip: bool = False,
    register: str | None = None,
) -> dict[str, Any]:
    """All that a mask depends on; a mask with the same key need not be made again."""
    return {
        "InputSHA256": file_digest(scan.path),
        "Models": {plane: _model(predictor, plane) for plane in predictor.planes},
        "FusionRule": rule,
        "Threshold": threshold,
        "FlipAveraged": flip,
        "Registered": register,
        "GeneratedBy": {"Name": GENERATOR, "Version": version()},
    }


def _model(predictor: Predictor, plane: str) -> dict[str, Any]:
    card, identity = predictor.card(plane), predictor.identity(plane)
    return {
        "Version": identity["version"],
        "SHA256": identity["sha256"],
        **({"Precision": identity["precision"]} if "precision" in identity else {}),
        "Network": card.network,
        "Fold": card.fold or None,
        "AveragedFolds": list(card.members),
        "DataSet": card.dataset,
        "Phantom": card.phantom,
        "Subjects": card.subjects or None,
    }


def describe(
    scan: InputScan, done: Segmentation, predictor: Predictor, facts: dict[str, Any]
) -> dict[str, Any]:
    """The sidecar of a mask, plain JSON (docs/spec/practice.md#sidecars): BIDS' own keys first, then ours."""
    trained = statement(predictor)
    return {
        "Type": "Lesion",
        "Description": f"Stroke lesion segmented from T1w by RAX-Net in {len(done.planes)} planes. {trained}",
        "Sources": [scan.source],
        **({} if any(e.startswith("space-") for e in scan.entities) else {"SpatialReference": scan.source}),
        "Manual": False,
        **lesion_numbers(done.mask),
        "Planes": list(done.planes),
        "PlaneDisagreement": _rounded(done.disagreement),
        "UncertaintyInMask": _rounded(uncertainty_in_mask(done)),
        "TrainingStatement": trained,
        "MNICheck": {
            "Verdict": done.mni.verdict,
            "Similarity": _rounded(done.mni.similarity),
            "OffsetMm": _rounded(done.mni.offset),
            "Message": done.mni.message,
        },
        "Warnings": list(done.messages),
        **facts,
        **_registration(scan, done),
        "Software": {"python": platform.python_version(), **{name: version(name) for name in _SOFTWARE}},
    }


def _registration(scan: InputScan, done: Segmentation) -> dict[str, Any]:
    """How the scan was laid onto the template; nothing where it was not."""
    if done.transform is None:
        return {}
    facts = {
        "Template": SPACE,
        "Transform": f"bids::{scan.transform(Path()).as_posix()}",
        "ScanToTemplateMm": [[round(float(value), 6) for value in row] for row in done.transform],
        "SimpleITK": version("SimpleITK"),
    }
    return {"Registration": facts}


def uncertainty_in_mask(done: Segmentation) -> float | None:
    """Mean of the planes' uncertainty over the mask's voxels; None with one plane or an empty mask."""
    inside = done.mask.data > 0
    if done.uncertainty is None or not inside.any():
        return None
    return float(done.uncertainty.data[inside].mean(dtype=np.float64))


def lesion_numbers(mask: Volume) -> dict[str, Any]:
    """Volume and connected components (26 neighbors), largest first (docs/spec/method.md#lesion-statistics)."""
    labels, count = ndimage.label(mask.data, structure=np.ones((3, 3, 3)))
    sizes = np.sort(np.bincount(labels.ravel(), minlength=count + 1)[1:])[::-1]
    cubic = mask.grid.voxel_volume
    return {
        "LesionVoxels": int(sizes.sum()),
        "LesionVolumeMm3": round(float(sizes.sum()) * cubic, 3),
        "LesionVolumeMl": round(float(sizes.sum()) * cubic / 1000, 6),
        "LesionCount": int(count),
        "LesionSizesMm3": [round(float(size) * cubic, 3) for size in sizes],
        "VoxelVolumeMm3": round(cubic, 6),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
