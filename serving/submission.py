"""Masks alone, under the name that a challenge's evaluation looks for: ATLAS's is atlas2_prediction.

The form is that of ISLES'22 ATLAS: a BIDS derivative whose pipeline has that name, with one mask for each scan, named
after it with `label-L`, and nothing else that is called a mask. A digest of all that a mask depends on is in its
header, so that finished ones are skipped.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib

from lesions import nifti
from lesions.errors import InputError
from lesions.files import write_text
from serving import sidecar
from serving.bids import BIDS_VERSION, LABEL, InputScan
from serving.derivative import DESCRIPTION, as_json, note
from serving.predictor import Predictor
from serving.segmenter import Segmentation

MARK = "raxnet mask"


def check_name(name: str) -> None:
    """Raises InputError where a derivative cannot be called so."""
    if not re.fullmatch(r"[A-Za-z0-9_+-]+", name):
        raise InputError(f"bids-name: expected letters, digits, _, + or -, found {name!r}")


def path_of(scan: InputScan, out: Path) -> Path:
    """The mask's file, for example sub-r001s001_ses-1_space-MNI152NLin2009aSym_label-L_mask.nii.gz."""
    kept = [e for e in scan.entities if not e.startswith(("label-", "desc-"))]
    return scan.output(out, "").with_name("_".join([*kept, LABEL, "mask.nii.gz"]))


def mark(predictor: Predictor, facts: dict[str, Any]) -> str:
    """What a mask's header says: that it is one of ours, and a digest of all that it depends on."""
    return f"{MARK}; {note(predictor)}; {_digest(facts)}"


def marked(path: Path) -> str:
    """The mark in a file's header; empty where the file is not there or no mask of ours."""
    try:
        header: Any = nib.load(path).header
        said = header["descrip"].tobytes().decode("ascii", "replace").rstrip("\0")
    except (*nifti.UNREADABLE, InputError):
        return ""
    return said if said.startswith(MARK) else ""


def former(path: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Numbers of a finished mask of the same scan, models and options; empty where there is none."""
    try:
        if not marked(path).endswith(_digest(facts)):
            return {}
        return {**sidecar.lesion_numbers(nifti.read(path)), "Warnings": []}
    except (*nifti.UNREADABLE, InputError):
        return {}


def save(
    scan: InputScan, out: Path, done: Segmentation, predictor: Predictor, facts: dict[str, Any], name: str
) -> dict[str, Any]:
    """Writes a mask, and the description of the data set where it is not there yet.

    Returns:
        What a sidecar would say; none is written.

    Raises:
        InputError: The folder cannot be written.
    """
    content = sidecar.describe(scan, done, predictor, facts)
    if not (out / DESCRIPTION).is_file():
        write_text(out / DESCRIPTION, as_json(_description(name, content["TrainingStatement"])))
    nifti.write(path_of(scan, out), done.mask, mark(predictor, facts), scan.path)
    return content


def _description(name: str, trained: str) -> dict[str, Any]:
    maker = {"Name": sidecar.GENERATOR, "Version": sidecar.version(), "Description": trained}
    return {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "PipelineDescription": {"Name": name},  # what readers of older BIDS look for
        "GeneratedBy": [{"Name": name, "Version": sidecar.version()}, maker],
    }


def _digest(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
