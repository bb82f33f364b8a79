"""A BIDS derivative of masks: written scan by scan, and published elsewhere.

Its form: docs/spec/practice.md#bids-derivatives.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from lesions import nifti
from lesions.errors import InputError
from lesions.files import write_text
from lesions.grid import Volume
from serving import registration, sidecar
from serving.bids import BIDS_VERSION, DESC, UNCERTAINTY, InputScan
from serving.predictor import Predictor
from serving.segmenter import Segmentation

DESCRIPTION = "dataset_description.json"
NAME = "RAX-Net stroke lesion masks"
IGNORED = ".bidsignore"  # names what BIDS has no rule for yet: the validator passes
CODE = "raxnet segment"


def save(
    scan: InputScan, out: Path, done: Segmentation, predictor: Predictor, facts: dict[str, Any]
) -> dict[str, Any]:
    """Writes a segmented scan into a derivative: images first, then sidecars, the mask's last of all.

    Args:
        scan: What was segmented.
        out: The derivative's folder.
        done: Its segmentation.
        predictor: The models.
        facts: From `serving.sidecar.key`.

    Returns:
        The mask's sidecar.

    Raises:
        InputError: The folder cannot be written.
    """
    content = sidecar.describe(scan, done, predictor, facts)
    _describe(out, {scan.link: scan.root}, f"{CODE}. {content['TrainingStatement']}")
    with suppress(OSError):
        scan.output(out, "mask.json").unlink()  # written last, it says that all is there
    images = [
        ("probability", "probseg", DESC, done.probability, content),
        ("mask", "mask", DESC, done.mask, content),
    ]
    if done.uncertainty is not None:
        own = content | {"Description": sidecar.UNCERTAINTY}
        # Rounded: the noise of a sure background would make a hundred times the file.
        apart = Volume(np.round(done.uncertainty.data, 3), done.uncertainty.grid)
        images.insert(0, ("uncertainty", "probseg", UNCERTAINTY, apart, own))
    for name, suffix, desc, volume, _ in images:
        intent = f"raxnet lesion {name}; {note(predictor)}"
        nifti.write(scan.output(out, f"{suffix}.nii.gz", desc), volume, intent, scan.path)
    if done.transform is None:
        scan.transform(out).unlink(missing_ok=True)  # of a former run
    else:
        write_text(scan.transform(out), registration.as_itk(done.transform))
    for _, suffix, desc, _, said in images:
        write_text(scan.output(out, f"{suffix}.json", desc), as_json(said))
    return content


def note(predictor: Predictor) -> str:
    """What an image's header says of its models."""
    phantom = any(predictor.card(plane).phantom for plane in predictor.planes)
    return "models trained on PHANTOM data" if phantom else "for research"


def publish(source: Path, out: Path, predictor: Predictor | None = None) -> None:
    """Copies a derivative into another folder, beside what is in there already; nothing is segmented.

    Args:
        source: A derivative, such as the one inside FusionEvaluator's artifact.
        out: Where it goes; links to the scans are made anew from there.
        predictor: Models that have got a version since: sidecars name it where the model is the same, byte by byte,
            so that `raxnet segment` finds its work done.

    Raises:
        InputError: `out` cannot be written or holds another data set.
    """
    check_out(out)
    given = read_description(source)
    links = {name: source / path for name, path in given["DatasetLinks"].items()}
    identities = {} if predictor is None else {p: predictor.identity(p) for p in predictor.planes}
    files = [path for path in source.rglob("*") if path.is_file() and path.name != DESCRIPTION]
    for path in files:
        if path.name.endswith("mask.json"):  # written last, it says that all is there
            (out / path.relative_to(source)).unlink(missing_ok=True)
    for path in sorted(files, key=lambda path: (path.suffix == ".json", path.name.endswith("mask.json"))):
        target = out / path.relative_to(source)
        if path.suffix == ".json":
            write_text(target, as_json(_versioned(json.loads(path.read_text()), identities)))
        else:
            _copy(path, target)
    _describe(out, links, given["GeneratedBy"][0]["Description"])


def _versioned(content: dict[str, Any], identities: dict[str, dict[str, str]]) -> dict[str, Any]:
    for plane, model in content.get("Models", {}).items():
        if identities.get(plane, {}).get("sha256") == model["SHA256"]:
            model["Version"] = identities[plane]["version"]
    return content


def _copy(path: Path, target: Path) -> None:
    partial = target.with_name(f".partial-{os.getpid()}-{target.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, partial)
    partial.replace(target)


def check_out(out: Path, name: str = NAME) -> None:
    """Before minutes of work: raises InputError where a folder may not be written, or holds what is not ours.

    Args:
        out: Need not be there.
        name: Of the data set that may lie there.
    """
    nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(
            f"{out}: cannot be written ({nearest} is no folder that you may write); choose another"
        )
    description = read_description(out)
    makers = description.get("GeneratedBy", [])
    found = description.get("Name", "unnamed")
    ours = any(maker.get("Name") == sidecar.GENERATOR for maker in makers)
    if description and not (ours and found == name):
        raise InputError(f"{out}: holds another data set ({found}); choose an output folder of its own")


def read_description(out: Path) -> dict[str, Any]:
    """The content of dataset_description.json; empty where there is none. Raises InputError where it is damaged."""
    with suppress(FileNotFoundError, NotADirectoryError):
        try:
            return dict(json.loads((out / DESCRIPTION).read_text()))
        except ValueError:
            raise InputError(
                f"{out / DESCRIPTION}: not readable as JSON; choose another output folder"
            ) from None
    return {}


def _describe(out: Path, roots: dict[str, Path], what: str) -> None:
    links = read_description(out).get("DatasetLinks", {})
    for name, root in roots.items():
        links[name] = Path(os.path.relpath(root.resolve(), out.resolve())).as_posix()
    maker = {"Name": sidecar.GENERATOR, "Version": sidecar.version(), "Description": what}
    content = {
        "Name": NAME,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [maker],
        "SourceDatasets": [{"URL": f"bids:{name}:"} for name in sorted(links)],
        "DatasetLinks": dict(sorted(links.items())),
    }
    if not (out / IGNORED).is_file():
        write_text(out / IGNORED, "*.html\n*_xfm.txt\ngroup_*\n")
    text = as_json(content)
    if not (out / DESCRIPTION).is_file() or (out / DESCRIPTION).read_text() != text:
        write_text(out / DESCRIPTION, text)


def as_json(content: Any) -> str:
    """JSON text as all sidecars are written."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
