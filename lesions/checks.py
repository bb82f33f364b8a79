"""Opens every file of a data set and says what is wrong, what was expected, and how to mend it.

A finding of severity "error" puts its scan aside; a "note" is only said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np

from lesions import nifti
from lesions.dataset import Dataset, Scan, is_testing
from lesions.errors import InputError
from lesions.grid import Grid, Volume
from lesions.parallel import map_subjects
from lesions.progress import Progress

ERROR, NOTE = "error", "note"
TOLERANCE = 1e-3  # mm between affines, as the readers of scans demand
SHOWN = 5  # values of a mask that is not binary


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
        severity: "error" (the scan is put aside) or "note".
    """

    subject: str
    file: str
    problem: str
    expected: str
    found: str
    remedy: str
    severity: str = ERROR


@dataclass(frozen=True)
class Checked:
    """A data set's common grid (RAS), the scans that can be trained on, and all findings."""

    grid: Grid
    usable: tuple[Scan, ...]
    findings: tuple[Finding, ...]


@dataclass
class _Sheet:
    """Findings of one scan; `grid` in RAS, None where it cannot be told."""

    root: Path
    scan: Scan
    findings: list[Finding] = field(default_factory=list)
    grid: Grid | None = None

    def add(
        self, path: Path, problem: str, expected: str, found: str, remedy: str, severity: str = ERROR
    ) -> None:
        """Notes a finding about one file of the scan."""
        name = path.relative_to(self.root).as_posix()
        self.findings.append(Finding(self.scan.subject, name, problem, expected, found, remedy, severity))

    @property
    def good(self) -> bool:
        """True where nothing puts the scan aside."""
        return all(finding.severity != ERROR for finding in self.findings)


def check_dataset(dataset: Dataset, workers: int = 1, progress: Progress | None = None) -> Checked:
    """Reads every scan and mask, one scan at a time in each worker.

    Args:
        dataset: As discovered.
        workers: Processes; each holds one scan and its mask (about 250 MB in all at 1 mm).
        progress: Called with (scans done, scans).

    Returns:
        Usable are the scans with a mask and without a finding of severity "error"; one session per subject.

    Raises:
        InputError: Nothing is usable; names the first finding.
        WorkError: A worker died; names its subject.
    """
    grid, usable, findings = inspect_dataset(dataset, workers, progress)
    if grid is None or not usable:
        raise InputError(f"{dataset.root}: no usable scan; {_first_error(findings)}")
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
    findings = tuple(finding for sheet in sheets for finding in sheet.findings)
    return grid, tuple(usable), findings


def _examine(dataset: Dataset, scan: Scan) -> _Sheet:
    """What one scan and its mask tell by themselves."""
    sheet = _Sheet(dataset.root, scan)
    image = _load(sheet, scan.image)
    if image is not None:
        sheet.grid = image.grid
        _check_image(sheet, scan.image, image.data)
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
            path, "one frame of a series", "a 3-D volume", found, "none needed: it is read as 3-D", NOTE
        )
    matrix = volume.grid.matrix
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-6:
        remedy = "write the file again with a valid sform or qform"
        sheet.add(path, "affine not usable", "an invertible affine", "a singular one", remedy)
        return None
    axes = "".join(nib.aff2axcodes(matrix))
    if axes != "RAS":
        sheet.add(path, "axes not RAS", "RAS", axes, "none needed: it is reoriented on reading", NOTE)
    return nifti.canonical(volume)


def _unreadable(reason: str) -> tuple[str, str, str, str]:
    """Problem, expected, found and remedy from the line that `nifti.read` fails with."""
    found, _, remedy = reason.rpartition("; ")
    problems = {
        "no such file": "file missing",
        "still encrypted": "encrypted",
        "cannot be read to its end": "truncated or damaged",
        "expected a 3-D volume": "wrong dimensions",
        "not NIfTI": "not NIfTI",
        "not a readable NIfTI": "not readable as NIfTI",
    }
    problem = next((name for start, name in problems.items() if found.startswith(start)), "unreadable")
    return problem, "a 3-D NIfTI volume", found, remedy


def _check_image(sheet: _Sheet, path: Path, data: np.ndarray) -> None:
    bad = data.size - int(np.count_nonzero(np.isfinite(data)))
    if bad:
        sheet.add(
            path,
            "NaN or infinite",
            "finite intensities",
            f"{bad} voxels",
            "write the scan again without them",
        )
    elif data.min() == data.max():
        sheet.add(
            path, "constant image", "a scan", f"{data.min():g} everywhere", "replace it with the real scan"
        )


def _check_mask(sheet: _Sheet, path: Path, mask: Volume) -> None:
    if not np.isfinite(mask.data).all():
        sheet.add(
            path, "NaN or infinite", "0 and 1", "NaN or infinite values", "write the mask again without them"
        )
        return
    values = np.unique(mask.data)
    if len(values) > 2 or values[0] < 0:
        found = ", ".join(f"{v:g}" for v in values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")
        remedy = "decide what counts as lesion and write 0 and 1 (nearest neighbor, if it was resampled)"
        sheet.add(path, "mask not binary", "0 and 1", f"{len(values)} values: {found}", remedy)
    elif not values[-1] > 0:
        sheet.add(
            path, "empty mask", "at least one lesion voxel", "none", "mend the mask, or leave the subject out"
        )
    elif values.tolist() not in ([0, 1], [1]):
        found = ", ".join(f"{v:g}" for v in values)
        sheet.add(path, "mask not 0 and 1", "0 and 1", found, "none needed: above 0 is lesion", NOTE)
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
    if sheet.grid is not None and not sheet.grid.same_as(common, TOLERANCE):
        remedy = "resample scan and mask onto the data set's grid"
        sheet.add(
            sheet.scan.image, "grid differs from the data set's", *_differences(common, sheet.grid), remedy
        )


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
    remedy = f"none needed: {first.session} is used; remove one to choose"
    sheet.add(sheet.scan.image, "second session", "one session per subject", found, remedy)


def _first_error(findings: Sequence[Finding]) -> str:
    errors = [finding for finding in findings if finding.severity == ERROR]
    if not errors:
        return "none has a lesion mask"
    first = errors[0]
    more = f" (and {len(errors) - 1} more: raxnet check lists them)" if len(errors) > 1 else ""
    return f"{first.file}: {first.problem}, found {first.found}; {first.remedy}{more}"
