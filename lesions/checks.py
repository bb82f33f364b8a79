"""Opens every file of a data set and says what is wrong, what was expected, and how to mend it.

A finding of severity "error" puts its scan aside. With a "warning" the scan is used, but somebody should look at it. A
"note" is only said. Strict means to stop at errors and warnings (`stopping`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np

from lesions import nifti
from lesions.dataset import Conflict, Dataset, Scan, is_testing
from lesions.errors import InputError
from lesions.grid import SPACE, Grid, Volume
from lesions.mni import NEAR, OUTSIDE, mni_check
from lesions.parallel import map_subjects
from lesions.progress import LOGGER, Progress

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)  # gravest first
TOLERANCE = 1e-3  # mm between affines, as the readers of scans demand
SHOWN = 5  # values of a mask that is not binary
LOGGED = 20  # findings; `raxnet check` lists them all


@dataclass(frozen=True)
class Finding:
    """One thing found in one file.

    Attributes:
        subject: Its id.
        file: Path below the data set's root.
        problem: What is wrong, in a few words, the same for all such files.
        expected: What should be there.
        found: What is there.
        remedy: What to do.
        severity: "error" (the scan is put aside), "warning" (it is used, look at it) or "note".
        session: Empty where there is none.
    """

    subject: str
    file: str
    problem: str
    expected: str
    found: str
    remedy: str
    severity: str = ERROR
    session: str = ""


@dataclass(frozen=True)
class Checked:
    """A data set's common grid (RAS), the scans that can be trained on, and all findings."""

    grid: Grid
    usable: tuple[Scan, ...]
    findings: tuple[Finding, ...]


def stopping(findings: Iterable[Finding]) -> list[Finding]:
    """Those at which strict work stops: errors and warnings."""
    return [finding for finding in findings if finding.severity != NOTE]


def put_aside(findings: Iterable[Finding]) -> list[str]:
    """The scans put aside, by subject and session, sorted; a subject may be used with another session."""
    return sorted({f"{f.subject} {f.session}".strip() for f in findings if f.severity == ERROR})


@dataclass
class _Sheet:
    """Findings of one scan; `grid` in RAS, None where it cannot be told, `axes` as stored ("RAS")."""

    root: Path
    scan: Scan
    findings: list[Finding] = field(default_factory=list)
    grid: Grid | None = None
    axes: str = ""

    def add(
        self, path: Path, problem: str, expected: str, found: str, remedy: str, severity: str = ERROR
    ) -> None:
        """Notes a finding about one file of the scan."""
        name, of = path.relative_to(self.root).as_posix(), self.scan
        self.findings.append(
            Finding(of.subject, name, problem, expected, found, remedy, severity, of.session)
        )

    @property
    def good(self) -> bool:
        """True where nothing puts the scan aside."""
        return all(finding.severity != ERROR for finding in self.findings)


def check_dataset(
    dataset: Dataset, workers: int = 1, progress: Progress | None = None, strict: bool = False
) -> Checked:
    """Reads every scan and mask, one scan at a time in each worker; errors and warnings are logged.

    Args:
        dataset: As discovered.
        workers: Processes; benchmarks/check_memory.py measures what each takes.
        progress: Called with (scans done, scans).
        strict: Whether an error or a warning stops the work.

    Returns:
        Usable are the scans with a mask and without a finding of severity "error"; one session per subject.

    Raises:
        InputError: Nothing is usable, or strict and something was found; names the first finding.
        WorkError: A worker died; names its subject.
    """
    grid, usable, findings = inspect_dataset(dataset, workers, progress)
    _log(dataset, stopping(findings))
    if grid is None or not usable:
        raise InputError(f"{dataset.root}: no usable scan; {_first(findings)}")
    if strict and stopping(findings):
        raise InputError(f"{dataset.root}: strict is set, and {_first(findings)}")
    return Checked(grid, usable, findings)


def inspect_dataset(
    dataset: Dataset, workers: int = 1, progress: Progress | None = None
) -> tuple[Grid | None, tuple[Scan, ...], tuple[Finding, ...]]:
    """As `check_dataset`, also where nothing is usable: then the grid may be None and the scans are none."""
    sheets = map_subjects(partial(_examine, dataset), dataset.scans, lambda s: s.subject, workers, progress)
    grid = _common_grid([sheet.grid for sheet in sheets if sheet.grid is not None])
    usable: list[Scan] = []
    for sheet in sheets:
        if grid is not None and sheet.grid is not None:
            _compare_with_common(sheet, grid)
        if sheet.scan.mask is None or not sheet.good:
            continue
        if usable and usable[-1].subject == sheet.scan.subject:
            _put_second_session_aside(sheet, usable[-1])
        else:
            usable.append(sheet.scan)
    findings = [finding for sheet in sheets for finding in sheet.findings]
    findings += [_conflicting(dataset.root, conflict) for conflict in dataset.conflicts]
    return grid, tuple(usable), tuple(sorted(findings, key=lambda f: (f.subject, f.session)))


def _log(dataset: Dataset, findings: Sequence[Finding]) -> None:
    log = logging.getLogger(LOGGER)
    for finding in findings[:LOGGED]:
        done = "put aside" if finding.severity == ERROR else "used, but look at it"
        log.warning("%s: %s: %s; %s", done, finding.file, finding.problem, finding.remedy)
    if len(findings) > LOGGED:
        log.warning("and %d more; `raxnet check %s` lists them", len(findings) - LOGGED, dataset.root)


def _conflicting(root: Path, conflict: Conflict) -> Finding:
    files = [path.relative_to(root).as_posix() for path in conflict.files]
    found, remedy = files[0], "rename or move the file"
    if len(files) > 1:
        found = f"{len(files)}: {files[0]} and {files[1]}{', ...' if len(files) > 2 else ''}"
        remedy = "keep one: only you can say which is meant"
    return Finding(
        conflict.subject,
        files[0],
        conflict.problem,
        conflict.expected,
        found,
        remedy,
        session=conflict.session,
    )


def _examine(dataset: Dataset, scan: Scan) -> _Sheet:
    """What one scan and its mask tell by themselves."""
    sheet = _Sheet(dataset.root, scan)
    image = _load(sheet, scan.image)
    if image is not None:
        sheet.grid = image.grid
        _check_image(sheet, scan.image, image)
    del image
    if scan.mask is not None:
        mask = _load(sheet, scan.mask)
        if mask is not None:
            _check_mask(sheet, scan.mask, mask)
    elif not is_testing(dataset, scan):
        remedy = "add *_label-L_desc-T1lesion_mask.nii.gz, or move the subject to Testing"
        sheet.add(scan.image, "missing mask", "a lesion mask beside the scan", "none", remedy)
    return sheet


def _load(sheet: _Sheet, path: Path) -> Volume | None:
    """The volume in RAS; None, and a finding, where it cannot be had."""
    try:
        volume = nifti.read(path)
    except InputError as error:
        sheet.add(path, *_unreadable(" ".join(str(error).removeprefix(f"{path}: ").split())))
        return None
    shape = nib.Nifti1Image.from_filename(path).shape
    if len(shape) > 3:
        found = f"{len(shape)}-D, {'x'.join(map(str, shape))}"
        sheet.add(
            path, "one frame of a series", "a 3-D volume", found, "nothing to do: it is read as 3-D", NOTE
        )
    axes = "".join(nib.aff2axcodes(volume.grid.matrix))
    if path == sheet.scan.image:
        sheet.axes = axes
    if sheet.axes not in ("", axes):
        remedy = "see whether the lesion lies on the right side; store both with the same axes"
        sheet.add(path, "axes of mask and scan differ", f"{sheet.axes}, as its scan", axes, remedy, WARNING)
    elif axes != "RAS":
        sheet.add(path, "axes not RAS", "RAS", axes, "nothing to do: it is reoriented on reading", NOTE)
    return nifti.canonical(volume)


def _unreadable(reason: str) -> tuple[str, str, str, str]:
    """Problem, expected, found and remedy from the line that `nifti.read` fails with."""
    found, _, remedy = reason.rpartition("; ")
    problems = {
        "no such file": "file missing",
        "still encrypted": "encrypted",
        "cannot be read to its end": "truncated or damaged",
        "too small for its shape": "truncated or damaged",
        "expected a 3-D volume": "wrong dimensions",
        "expected numbers": "voxels are not numbers",
        "its affine is not usable": "affine not usable",
        "not NIfTI": "not NIfTI",
        "not a readable NIfTI": "not readable as NIfTI",
    }
    problem = next((name for start, name in problems.items() if found.startswith(start)), "unreadable")
    return problem, "a 3-D NIfTI volume", found, remedy


def _check_image(sheet: _Sheet, path: Path, image: Volume) -> None:
    data = image.data
    bad = data.size - int(np.count_nonzero(np.isfinite(data)))
    if bad:
        remedy = "write the scan again without them"
        sheet.add(path, "NaN or infinite", "finite intensities", f"{bad} voxels", remedy)
    elif data.min() == data.max():
        remedy = "replace it with the real scan"
        sheet.add(path, "constant image", "a scan", f"{data.min():g} everywhere", remedy)
    else:
        _check_place(sheet, path, image)


def _check_place(sheet: _Sheet, path: Path, image: Volume) -> None:
    """A head that is no T1 template's is not put aside: the check may err, and ATLAS is in MNI space."""
    check = mni_check(image)
    if not check.flagged:
        return
    problem, severity = "perhaps not in MNI space", NOTE
    if check.verdict == OUTSIDE:
        problem, severity = "not in MNI space", WARNING
    remedy = f"look at it; register scan and mask to {SPACE}, or leave it: it is used as it is"
    sheet.add(path, problem, f"the brain within {NEAR:g} mm of the template's", check.how, remedy, severity)


def _check_mask(sheet: _Sheet, path: Path, mask: Volume) -> None:
    data = mask.data
    bad = data.size - int(np.count_nonzero(np.isfinite(data)))
    if bad:
        sheet.add(path, "NaN or infinite", "0 and 1", f"{bad} voxels", "write the mask again without them")
        return
    low, high = float(data.min()), float(data.max())
    if low < 0 or not np.all((data == low) | (data == high)):
        values = np.unique(data) + 0.0  # no -0
        found = ", ".join(f"{v:g}" for v in values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")
        remedy = "decide what counts as lesion and write 0 and 1 (nearest neighbor, if it was resampled)"
        sheet.add(path, "mask not binary", "0 and 1", f"{len(values)} values: {found}", remedy)
    elif high == 0:
        remedy = "mend the mask, or leave the subject out"
        sheet.add(path, "empty mask", "at least one lesion voxel", "none", remedy)
    elif low > 0:
        remedy = "mend the mask, or leave the subject out"
        sheet.add(path, "mask is all lesion", "0 where there is no lesion", f"{low:g} everywhere", remedy)
    elif high != 1:
        found = f"{low:g}, {high:g}"
        sheet.add(path, "mask not 0 and 1", "0 and 1", found, "nothing to do: above 0 is lesion", NOTE)
    if sheet.grid is not None and not mask.grid.same_as(sheet.grid, TOLERANCE):
        remedy = "resample the mask onto its scan (nearest neighbor)"
        sheet.add(path, "grid of mask and scan differ", *_differences(sheet.grid, mask.grid), remedy)


def _common_grid(grids: Sequence[Grid]) -> Grid | None:
    """The grid that most scans are on; of equally many the first."""
    kinds: list[tuple[Grid, int]] = []
    for grid in grids:
        for index, (known, count) in enumerate(kinds):
            if known.same_as(grid, TOLERANCE):
                kinds[index] = (known, count + 1)
                break
        else:
            kinds.append((grid, 1))
    return max(kinds, key=lambda kind: kind[1])[0] if kinds else None


def _compare_with_common(sheet: _Sheet, common: Grid) -> None:
    if sheet.grid is None or sheet.grid.same_as(common, TOLERANCE):
        return
    what = "affine" if sheet.grid.shape == common.shape else "grid"
    remedy = "resample scan and mask onto the data set's grid"
    found = _differences(common, sheet.grid)
    sheet.add(sheet.scan.image, f"{what} differs from the data set's", *found, remedy)


def _differences(expected: Grid, found: Grid) -> tuple[str, str]:
    """The two grids in words: by shape, else by spacing, else by the largest difference of their affines."""
    for name, values in (("shape", lambda g: g.shape), ("spacing", lambda g: g.spacing)):
        first, second = values(expected), values(found)
        if not np.allclose(first, second, atol=TOLERANCE):
            return _words(name, first), _words(name, second)
    origins = expected.matrix[:3, 3], found.matrix[:3, 3]
    if not np.allclose(*origins, atol=TOLERANCE):
        return _words("origin", origins[0]), _words("origin", origins[1])
    largest = np.abs(expected.matrix - found.matrix).max()
    return "the same affine", f"affine off by up to {largest:.3g} mm per voxel"


def _words(name: str, values: Sequence[float] | np.ndarray) -> str:
    return f"{name} {' x '.join(f'{v:g}' for v in values)}"


def _put_second_session_aside(sheet: _Sheet, first: Scan) -> None:
    found = f"{sheet.scan.session} beside {first.session}"
    remedy = f"nothing to do: {first.session} is used; remove one to choose"
    sheet.add(sheet.scan.image, "second session", "one session per subject", found, remedy)


def _first(findings: Sequence[Finding]) -> str:
    grave = sorted(stopping(findings), key=lambda finding: SEVERITIES.index(finding.severity))
    if not grave:
        return "none has a lesion mask"
    first = grave[0]
    more = f" (and {len(grave) - 1} more: raxnet check lists them)" if len(grave) > 1 else ""
    return f"{first.file}: {first.problem}, found {first.found}; {first.remedy}{more}"
