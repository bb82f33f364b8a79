"""The files that a caller gets: images on the scan's or the models' grid, and the numbers."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lesions import nifti
from lesions.errors import InputError, WorkError
from lesions.grid import Grid, Volume
from serving import registration, sidecar
from serving.gateway.models import Models
from serving.gateway.options import GRIDS
from serving.gateway.segmenting import Done, Task
from serving.segmenter import to_grid

FILES = {
    "mask": "mask.nii.gz",
    "probability": "probability.nii.gz",
    "planes": "planes.zip",
    "summary": "summary.json",
}
ALL, TRANSFORM = "all.zip", "scan_to_template_xfm.txt"
MEDIA = {".gz": "application/gzip", ".zip": "application/zip", ".json": "application/json"}


def write(done: Done, task: Task, models: Models, outputs: Iterable[str], folder: Path) -> dict[str, Any]:
    """Writes outputs, under their names of `FILES`.

    Args:
        done: The segmented scan.
        task: Its file and options.
        models: To name the release.
        outputs: Names of `FILES`, or "all": a zip of them.
        folder: Where to.

    Returns:
        The summary.
    """
    summary = summarize(done, task, models)
    wanted = tuple(FILES) if "all" in outputs else tuple(outputs)
    for name in wanted:
        task.progress("writing")
        if name == "summary":
            (folder / FILES[name]).write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")
        elif name == "planes":
            _zip_planes(done, task, folder)
        else:
            _write_image(done, task, name, folder / FILES[name])
    if "all" in outputs:
        single = [folder / FILES[name] for name in FILES if name != "planes"]
        if done.segmentation.transform is not None:
            single.append(folder / TRANSFORM)
            single[-1].write_text(registration.as_itk(done.segmentation.transform))
        _zip(folder / ALL, single + sorted(folder.glob("*_probability.nii.gz")))
    return summary


def summarize(done: Done, task: Task, models: Models) -> dict[str, Any]:
    """The numbers, plain JSON."""
    found = done.segmentation
    numbers = sidecar.lesion_numbers(found.mask)
    return {
        "lesion_volume_ml": numbers["LesionVolumeMl"],
        "lesion_count": numbers["LesionCount"],
        "lesion_sizes_ml": [round(size / 1000, 6) for size in numbers["LesionSizesMm3"]],
        "disagreement": None if found.disagreement is None else round(found.disagreement, 4),
        "planes": list(found.planes),
        "models": {plane: done.models.identity(plane) for plane in found.planes},
        "release": models.release(done.models.versions),
        "training": sidecar.statement(done.models),
        "mni_check": {
            "verdict": found.mni.verdict,
            "similarity": round(found.mni.similarity, 4),
            "offset_mm": round(found.mni.offset, 4),
            "message": found.mni.message,
        },
        "scan_to_template_mm": None if found.transform is None else np.round(found.transform, 6).tolist(),
        "warnings": list(found.messages),
        "grid": {
            "shape": list(done.scan.grid.shape),
            "voxel_mm": [round(edge, 6) for edge in done.scan.grid.spacing],
        },
        "options": task.options.as_json(),
        "seconds": round(done.seconds, 3),
    }


def versions(summary: dict[str, Any]) -> str:
    """axial=3,sagittal=3,coronal=3."""
    return ",".join(f"{plane}={model['version']}" for plane, model in summary["models"].items())


def _write_image(done: Done, task: Task, name: str, path: Path) -> None:
    found, native = done.segmentation, task.options.grid == GRIDS[0]
    if name == "mask":
        volume = found.mask if native else Volume(found.fused_mask, _models_grid(done))
    else:
        volume = found.probability if native else Volume(found.fused_probability, _models_grid(done))
    _save(path, volume, f"raxnet lesion {name}", task)


def _zip_planes(done: Done, task: Task, folder: Path) -> None:
    written = []
    for plane, data in done.segmentation.plane_probabilities.items():
        volume = Volume(data, _models_grid(done))
        if task.options.grid == GRIDS[0]:
            volume = Volume(to_grid(volume, _placed(done)).data, done.scan.grid)
        written.append(folder / f"{plane}_probability.nii.gz")
        _save(written[-1], volume, f"raxnet lesion probability, {plane}", task)
    _zip(folder / FILES["planes"], written)


def _save(path: Path, volume: Volume, intent: str, task: Task) -> None:
    like = task.path if task.options.grid == GRIDS[0] else None
    try:
        nifti.write(path, volume, intent, like)
    except InputError:  # the caller's scan is not to blame
        raise WorkError("The results cannot be written: no room on the server's disk") from None


def _placed(done: Done) -> Grid:
    """The scan's grid where it was segmented: on the template, if it was registered."""
    transform = done.segmentation.transform
    grid = done.scan.grid
    return grid if transform is None else Grid.of(grid.shape, transform @ grid.matrix)


def _models_grid(done: Done) -> Grid:
    return done.models.card(done.models.planes[0]).grid


def _zip(path: Path, files: list[Path]) -> None:
    """Packs files that are packed already."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            archive.write(file, file.name)


def file_of(output: str) -> str:
    """The name of an output's file."""
    return FILES.get(output, ALL)


def headers(summary: dict[str, Any]) -> dict[str, str]:
    """What an answer's headers say of it."""
    return {
        "X-Model-Versions": versions(summary),
        "X-Warnings": str(len(summary["warnings"])),
        "Cache-Control": "no-store",
    }
