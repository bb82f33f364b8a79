"""A page for each subject of a derivative, with pictures of its masks: <out>/sub-X.html."""

from __future__ import annotations

import json
from pathlib import Path

from lesions.files import write_text
from reports.subject_page import FACTS, Finding, render
from serving.bids import DESC, LABEL, UNCERTAINTY
from serving.derivative import read_description

MASKS = f"*_{LABEL}_{DESC}_mask.json"


def write_page(out: Path, subject: str, anew: bool) -> None:
    """Writes a subject's page from what lies in the derivative; nothing where there is no mask.

    A mask whose sidecar is damaged is left out: it counts as not done, and is made again when its scan's turn comes.

    Args:
        out: The derivative's folder.
        subject: For example sub-r001s001.
        anew: Also where the page is there already.

    Raises:
        InputError: The folder cannot be written.
    """
    path = out / f"{subject}.html"
    if path.is_file() and not anew:
        return
    links = read_description(out).get("DatasetLinks", {})
    found = sorted(
        file for where in ("anat", "ses-*/anat") for file in (out / subject).glob(f"{where}/{MASKS}")
    )
    findings = [finding for sidecar in found if (finding := _finding(out, links, sidecar))]
    if findings:
        write_text(path, render(subject, findings))


def _finding(out: Path, links: dict[str, str], path: Path) -> Finding | None:
    """What lies beside a mask's sidecar; None where that is damaged."""
    mask = path.with_suffix(".nii.gz")
    apart = mask.with_name(mask.name.replace(f"_{DESC}_mask", f"_{UNCERTAINTY}_probseg"))
    label = mask.name.split(f"_{LABEL}")[0].replace("_", " ")
    try:
        said = json.loads(path.read_text())
        _, link, source = said["Sources"][0].split(":", 2)
        finding = Finding(label, out / links[link] / source, mask, apart if apart.is_file() else None, said)
        return finding if set(said) >= FACTS else None
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None
