"""The phantom as a data set: ATLAS's tree and file names, written in parallel, whole or not at all."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lesions import nifti
from lesions.errors import InputError
from lesions.files import require_space, whole_folder
from lesions.grid import SPACE, template_grid
from lesions.parallel import default_workers, map_subjects
from lesions.phantom.subject import GENERATOR, make_subject
from lesions.progress import Progress

FINEST, COARSEST = 0.5, 6.0  # mm
# Sizes and numbers of the cohorts, repeated with higher numbers; gaps as in ATLAS.
_COHORTS = ((1, 12), (2, 10), (4, 16), (5, 11), (9, 20), (11, 13))
_ROUND = 12
_BYTES_PER_VOXEL = 1.2  # compressed image and mask, measured, rounded up


def subject_name(index: int) -> str:
    """ATLAS-like id of subject `index` (from 0): sub-r001s001; cohorts and subjects have gaps."""
    turn, rest = divmod(index, sum(size for _, size in _COHORTS))
    for number, size in _COHORTS:
        if rest < size:
            return f"sub-r{number + turn * _ROUND:03d}s{rest + 1 + rest // 6:03d}"
        rest -= size
    raise AssertionError("unreachable")


def make_cohort(
    out: Path,
    subjects: int,
    seed: int = 0,
    spacing: float = 1.0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Writes a synthetic data set in the tree of ATLAS v2.0 (docs/spec/method.md#data-set).

    The result depends on `seed` and `spacing` alone; more subjects extend a smaller set. It is written under a
    temporary name beside `out` and renamed when complete. A finished phantom with the same parameters in `out`
    is kept as it is.

    Args:
        out: Folder to make.
        subjects: Number of subjects, at least 1.
        seed: Not negative.
        spacing: Edge of the voxels, 0.5 to 6 mm; 1 gives ATLAS's 197 x 233 x 189.
        workers: Processes; by default one per processor, as far as memory allows.
        progress: Called with (done, total).

    Raises:
        InputError: A parameter is out of range, `out` holds something else or cannot be written, or the disk
            is too full.
        WorkError: A process died; names its subject.
    """
    out = Path(out)
    _check(subjects, seed, spacing, workers)
    description = _description(subjects, seed, spacing)
    if _is_finished(out, subjects, description):
        return
    _check_target(out, subjects, spacing)
    with whole_folder(out) as unfinished:
        _write_all(unfinished, subjects, seed, spacing, workers, progress)
        for cohort in sorted((unfinished / "Training").iterdir()):
            (cohort / "dataset_description.json").write_text(json.dumps(description, indent=2) + "\n")


def _check(subjects: int, seed: int, spacing: float, workers: int | None) -> None:
    if subjects < 1:
        raise InputError(f"subjects: expected 1 or more, found {subjects}; give a positive number")
    if seed < 0:
        raise InputError(f"seed: expected 0 or more, found {seed}; give another number")
    if not FINEST <= spacing <= COARSEST:
        raise InputError(f"spacing: expected {FINEST} to {COARSEST} mm, found {spacing}; 1 is ATLAS's own")
    if workers is not None and workers < 1:
        raise InputError(f"workers: expected 1 or more, found {workers}; leave it out to use all processors")


def _check_target(out: Path, subjects: int, spacing: float) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists and is not this phantom; choose another folder or remove it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); choose another folder") from None
    if not os.access(out.parent, os.W_OK):
        raise InputError(f"{out}: cannot be written (no permission); choose another folder")
    needed = subjects * _BYTES_PER_VOXEL * float(np.prod(template_grid(spacing).shape))
    require_space(out, needed, "ask for fewer subjects or a larger spacing")


def _description(subjects: int, seed: int, spacing: float) -> dict[str, Any]:
    parameters = {"subjects": subjects, "seed": seed, "spacing": float(spacing)}
    return {
        "Name": f"RAX-Net phantom (seed {seed})",
        "BIDSVersion": "1.6.0",
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "raxnet phantom",
                "Version": str(GENERATOR),
                "Description": "Synthetic; made from the MNI152 template. Never to be shown as ATLAS data.",
                "Parameters": parameters,
            }
        ],
    }


def _is_finished(out: Path, subjects: int, description: dict[str, Any]) -> bool:
    found = out / "Training" / _cohort(0) / "dataset_description.json"
    try:
        if json.loads(found.read_text()) != description:
            return False
    except (OSError, ValueError):
        return False
    return all(file.is_file() for index in range(subjects) for file in _files(out, index))


def _cohort(index: int) -> str:
    return subject_name(index)[4:8].upper()


def _files(out: Path, index: int) -> tuple[Path, Path]:
    """Image and mask of a subject."""
    name = subject_name(index)
    stem = f"{name}_ses-1_space-{SPACE}"
    folder = out / "Training" / _cohort(index) / name / "ses-1" / "anat"
    return folder / f"{stem}_T1w.nii.gz", folder / f"{stem}_label-L_desc-T1lesion_mask.nii.gz"


def _write_subject(out: Path, seed: int, spacing: float, index: int) -> None:
    image, mask = make_subject(index, seed, spacing)
    image_file, mask_file = _files(out, index)
    nifti.write(image_file, image, intent="RAX-Net phantom, synthetic")
    nifti.write(mask_file, mask, intent="RAX-Net phantom, synthetic")


def _write_all(
    out: Path, subjects: int, seed: int, spacing: float, workers: int | None, progress: Progress | None
) -> None:
    workers = min(workers or default_workers(), (subjects + 1) // 2)
    write = partial(_write_subject, out, seed, spacing)
    map_subjects(write, range(subjects), subject_name, workers, progress)
