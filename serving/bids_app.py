"""The BIDS App: scans in, a BIDS derivative out, and one table of its masks (docs/spec/practice.md#bids-apps)."""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lesions import nifti
from lesions.errors import InputError, WorkError
from lesions.files import write_text
from lesions.mni import INSIDE
from lesions.progress import Progress
from serving import sidecar, submission
from serving.bids import UNCERTAINTY, InputScan
from serving.derivative import NAME, as_json, check_out, save
from serving.predictor import Predictor
from serving.segmenter import check_options, segment
from serving.subject_pages import MASKS, write_page

GROUP = "group_lesions"

# Column of the group's table: key of the sidecar, meaning.
_COLUMNS = {
    "lesion_volume": ("LesionVolumeMl", "Volume of all lesions, on the scan's own grid", "ml"),
    "lesion_voxels": ("LesionVoxels", "Voxels of all lesions", None),
    "lesions": ("LesionCount", "Connected lesions (26 neighbors)", None),
    "plane_disagreement": ("PlaneDisagreement", "One minus the mean Dice of the planes' own masks", None),
    "uncertainty_in_mask": (
        "UncertaintyInMask",
        "Mean over the mask's voxels of the largest less the smallest probability of the planes",
        None,
    ),
    "fusion_rule": ("FusionRule", "How the planes became one mask", None),
    "threshold": ("Threshold", "A voxel is lesion where the fused probability reaches it", None),
    "flip": ("FlipAveraged", "Averaged with the scan mirrored left to right", None),
    "registered": ("Registered", "How the scan was laid onto the template first", None),
    "training": ("TrainingStatement", "What the models were trained on", None),
}


@dataclass(frozen=True)
class Outcome:
    """What became of one scan.

    Attributes:
        scan: The scan.
        mask: Where its mask lies, or would.
        sidecar: The mask's sidecar; empty where it failed.
        seconds: Time taken.
        reused: True where a finished mask of the same scan, models and options was there already.
        error: One line where it failed, else None.
        bad_input: True where the scan itself is to blame.
    """

    scan: InputScan
    mask: Path
    sidecar: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    reused: bool = False
    error: str | None = None
    bad_input: bool = False


def participant(
    scans: Sequence[InputScan],
    out: Path,
    predictor: Predictor,
    rule: str = "mean",
    threshold: float = 0.5,
    progress: Progress | None = None,
    flip: bool = False,
    register: str | None = None,
    strict: bool = False,
    bids_name: str | None = None,
) -> Iterator[Outcome]:
    """Segments scan after scan; a scan that fails is told and the others go on.

    Args:
        scans: From `serving.bids.find_scans`.
        out: The derivative's folder; finished scans in it are skipped.
        predictor: The models.
        rule: "mean" or "majority".
        threshold: See `serving.segmenter.segment`.
        progress: Called with (slices done, slices in all) of each scan.
        flip: See `serving.segmenter.segment`.
        register: See `serving.segmenter.segment`.
        strict: Refuse scans that do not lie in MNI space, or may not.
        bids_name: Write masks alone, as a data set of this name (`serving.submission`).

    Yields:
        One outcome for each scan, in order.

    Raises:
        InputError: An option is out of range, or `out` cannot be written or holds another data set.
    """
    check_options(rule, threshold, register)
    if bids_name:
        submission.check_name(bids_name)
    check_out(out, bids_name or NAME)
    options = {
        "rule": rule,
        "threshold": threshold,
        "flip": flip,
        "register": register,
        "strict": strict,
        "name": bids_name,
    }
    left, changed = Counter(scan.subject for scan in scans), set()
    for scan in scans:
        outcome = _safely(scan, out, predictor, progress, **options)
        left[scan.subject] -= 1
        if not outcome.reused:
            changed.add(scan.subject)
        if not left[scan.subject] and not bids_name:
            try:
                write_page(out, scan.subject, anew=scan.subject in changed)
            except InputError as error:
                outcome = replace(outcome, error=outcome.error or str(error))
        yield outcome


def group(out: Path) -> Path:
    """Writes one table of all masks in a derivative, and its dictionary.

    Returns:
        The table, <out>/group_lesions.tsv.

    Raises:
        InputError: There is no mask in `out`, a sidecar is damaged, or the table cannot be written.
    """
    found = sorted([*out.glob(f"sub-*/anat/{MASKS}"), *out.glob(f"sub-*/ses-*/anat/{MASKS}")])
    if not found:
        raise InputError(f"{out}: no mask in it; run `raxnet segment INPUT {out} participant` first")
    text = io.StringIO()
    table = csv.writer(text, delimiter="\t", lineterminator="\n")
    table.writerow(["participant_id", "session_id", "mask", *_COLUMNS, "mni_check"])
    for path in found:
        table.writerow(_row(out, path))
    write_text(out / f"{GROUP}.tsv", text.getvalue())
    write_text(out / f"{GROUP}.json", as_json(_dictionary()))
    return out / f"{GROUP}.tsv"


def _safely(
    scan: InputScan, out: Path, predictor: Predictor, progress: Progress | None, **options: Any
) -> Outcome:
    start = time.monotonic()
    mask = submission.path_of(scan, out) if options["name"] else scan.output(out, "mask.nii.gz")
    try:
        facts, reused = _one(scan, out, predictor, progress, **options)
    except (InputError, WorkError) as error:
        text = str(error) if str(error).startswith(str(scan.path)) else f"{scan.path}: {error}"
        return Outcome(scan, mask, error=text, bad_input=isinstance(error, InputError))
    except MemoryError:
        return Outcome(scan, mask, error=f"{scan.path}: not enough memory; free some, or give a smaller scan")
    return Outcome(scan, mask, facts, time.monotonic() - start, reused)


def _one(
    scan: InputScan,
    out: Path,
    predictor: Predictor,
    progress: Progress | None,
    strict: bool,
    name: str | None,
    **options: Any,
) -> tuple[dict[str, Any], bool]:
    _check_links(scan, out)
    volume = nifti.read(scan.path)
    predictor = predictor.pinned()
    facts = sidecar.key(scan, predictor, **options)
    if name:
        facts["Strict"] = strict  # no verdict is kept beside the mask
        if former := submission.former(submission.path_of(scan, out), facts):
            return former, True
        done = segment(volume, predictor, progress=progress, strict=strict, **options)
        return submission.save(scan, out, done, predictor, facts, name), False
    former = _former(scan, out)
    if former and all(former.get(name) == value for name, value in facts.items()):
        if strict and former["MNICheck"]["Verdict"] != INSIDE:
            raise InputError(former["MNICheck"]["Message"])
        return former, True
    done = segment(volume, predictor, progress=progress, strict=strict, **options)
    return save(scan, out, done, predictor, facts), False


def _check_links(scan: InputScan, out: Path) -> None:
    """Raises InputError where a scan is a link to nothing, or its output folder a link that leads out of `out`."""
    if scan.path.is_symlink() and not scan.path.exists():
        raise InputError(
            f"{scan.path}: a link that leads nowhere; fetch its content (datalad get) or mend it"
        )
    folder = scan.output(out, "").parent
    if not folder.resolve().is_relative_to(out.resolve()):
        raise InputError(
            f"{folder}: a link that leads out of {out}; remove it, or choose another output folder"
        )


def _former(scan: InputScan, out: Path) -> dict[str, Any]:
    """The sidecar of a finished mask under the scan's name; empty where there is none."""
    try:
        content: dict[str, Any] = json.loads(scan.output(out, "mask.json").read_text())
    except (OSError, ValueError):
        return {}
    same = content.get("InputSHA256") == sidecar.file_digest(scan.path)
    if not same and content.get("Sources") != [scan.source]:
        raise InputError(
            f"{scan.path}: {scan.output(out, 'mask.nii.gz')} is the mask of another scan; "
            "choose another output folder"
        )
    files = [scan.output(out, ending) for ending in ("mask.nii.gz", "probseg.nii.gz")]
    if "Registration" in content:
        files.append(scan.transform(out))
    if len(content.get("Planes", [])) > 1:
        files.append(scan.output(out, "probseg.nii.gz", UNCERTAINTY))
    return content if all(file.is_file() for file in files) else {}


def _row(out: Path, path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_text())
        values = [content[name] for name, _, _ in _COLUMNS.values()]
        verdict = content["MNICheck"]["Verdict"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error}); remove it and run `participant` again") from None
    names = path.name.split("_")
    session = next((name for name in names if name.startswith("ses-")), None)
    mask = path.relative_to(out).with_suffix(".nii.gz").as_posix()
    return ["n/a" if v is None else v for v in (names[0], session, mask, *values, verdict)]


def _dictionary() -> dict[str, dict[str, str]]:
    columns = {
        "participant_id": {"Description": "Subject"},
        "session_id": {"Description": "Session; n/a where the scan's name has none"},
        "mask": {"Description": "The mask, relative to this table"},
    }
    for name, (_, meaning, unit) in _COLUMNS.items():
        columns[name] = {"Description": meaning} | ({"Units": unit} if unit else {})
    columns["mni_check"] = {
        "Description": "Whether the scan lies in MNI space; if not, the mask may be wrong"
    }
    return columns
