"""Lesion statistics: sizes and counts of lesions per subject and per slice of each plane.

Definitions and golden values: (docs/spec/method.md#lesion-statistics).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from lesions import nifti
from lesions.components import components, slice_lesions
from lesions.dataset import Scan
from lesions.errors import InputError
from lesions.files import write_csv, write_text
from lesions.frequency import PackedMask, count_masks, pack
from lesions.grid import Grid, Volume, grid_from_json
from lesions.location import locate
from lesions.parallel import map_subjects
from lesions.places import LESION_COLUMNS, PLACES, SUBJECT_COLUMNS, Locations, approximate
from lesions.progress import Progress
from lesions.slices import AXIS, PLANES

Parsed = TypeVar("Parsed")

CATEGORIES = 6
# Lower edges of the categories at 1 mm, voxels or pixels; (lo, hi], the last one open
# (docs/spec/method.md#size-categories).
EDGES = {
    "3d": (0, 5_000, 30_000, 60_000, 100_000, 200_000),
    "axial": (0, 200, 500, 1_000, 2_000, 3_000),
    "sagittal": (0, 500, 1_000, 2_000, 3_000, 5_000),
    "coronal": (0, 200, 500, 1_000, 2_000, 3_000),
}
COLUMNS_3D = ("subject", "lesions", "voxels", "largest", "sizes")
COLUMNS_PLANE = ("subject", "slice", "lesions", "voxels", "largest")
COLUMNS_SLICES = ("subject", "slice", "nonzero", "lesion_voxels")
FREQUENCY = "lesion_frequency.nii.gz"


@dataclass(frozen=True, eq=False)
class Tables:
    """Statistics of a data set.

    Attributes:
        lesions_3d: A row per subject: subject, lesions (26-connected components), voxels, largest, sizes (all
            component sizes, largest first, separated by spaces; absent in tables of other origin).
        planes: By plane, a row per slice with lesion: subject, slice, lesions (8-connected), voxels, largest.
        slices: By plane, a row per slice: subject, slice, nonzero (image voxels above 0), lesion_voxels.
        grid: Grid of the scans; None means 1 mm.
        locations: Where the lesions are; None in tables of other origin.
        frequency: Number of subjects with a lesion in each voxel, uint16; None in tables of other origin and
            where the scans do not lie on one grid.
        dataset: Its name; empty in tables of other origin.
        phantom: True where the scans are synthetic.
    """

    lesions_3d: pd.DataFrame
    planes: dict[str, pd.DataFrame]
    slices: dict[str, pd.DataFrame] = field(default_factory=dict)
    grid: Grid | None = None
    locations: Locations | None = None
    frequency: Volume | None = None
    dataset: str = ""
    phantom: bool = False

    def write(self, folder: str | Path) -> None:
        """Writes every table as a file of its own; each appears whole.

        lesions_3d.csv, lesions_{plane}.csv, slices_{plane}.csv, grid.json, about.json (data set, phantom or not),
        locations.csv, locations_subjects.csv, locations_summary.csv, lesion_frequency.nii.gz.
        """
        folder = Path(folder)
        write_csv(folder / "lesions_3d.csv", self.lesions_3d)
        for plane, frame in self.planes.items():
            write_csv(folder / f"lesions_{plane}.csv", frame)
        for plane, frame in self.slices.items():
            write_csv(folder / f"slices_{plane}.csv", frame)
        if self.grid is not None:
            write_text(folder / "grid.json", json.dumps(self.grid.as_json()) + "\n")
        if self.dataset:
            about = {"dataset": self.dataset, "phantom": self.phantom}
            write_text(folder / "about.json", json.dumps(about) + "\n")
        if self.locations is not None:
            write_csv(folder / "locations.csv", self.locations.lesions)
            write_csv(folder / "locations_subjects.csv", self.locations.subjects)
            write_csv(folder / "locations_summary.csv", self.locations.summary())
        if self.frequency is not None:
            said = f"subjects with a lesion here, of {len(self.lesions_3d)}"
            nifti.write(folder / FREQUENCY, self.frequency, intent=said)


def compute_tables(scans: Sequence[Scan], workers: int = 1, progress: Progress | None = None) -> Tables:
    """Reads every scan that has a mask, one at a time in each worker, and tabulates its lesions.

    Args:
        scans: Those without a mask are passed over; one session per subject.
        workers: Processes; each holds one scan and its mask (about 250 MB in all at 1 mm).
        progress: Called with (subjects done, subjects).

    Returns:
        The tables, with approximate locations (`lesions.location`: the scans must lie in MNI space for them).

    Raises:
        InputError: No mask at all, one without lesion, a subject twice, a file that cannot be read, or
            scans on several grids.
        WorkError: A worker died; names its subject.
    """
    labeled = [scan for scan in scans if scan.mask is not None]
    if not labeled:
        raise InputError("statistics need scans with lesion masks, found none; check the data set's folder")
    subjects = [scan.subject for scan in labeled]
    for subject in set(subjects):
        if subjects.count(subject) > 1:
            raise InputError(f"{subject}: more than one session with a mask; keep one session per subject")
    rows = map_subjects(_tabulate, labeled, lambda scan: scan.subject, workers, progress)
    for row in rows[1:]:
        if row.grid.shape != rows[0].grid.shape:
            raise InputError(
                f"{row.subject}: shape {row.grid.shape}, {rows[0].subject} has {rows[0].grid.shape}; "
                "bring all scans to one grid (raxnet check lists them)"
            )
    return Tables(
        pd.DataFrame([row.lesions_3d for row in rows], columns=list(COLUMNS_3D)),
        {plane: pd.concat([row.planes[plane] for row in rows], ignore_index=True) for plane in PLANES},
        {plane: pd.concat([row.slices[plane] for row in rows], ignore_index=True) for plane in PLANES},
        rows[0].grid,
        approximate(pd.concat([row.locations for row in rows], ignore_index=True)),
        _frequency(rows),
    )


def _frequency(rows: Sequence[_Rows]) -> Volume | None:
    grid = rows[0].grid
    if not all(row.grid.same_as(grid) for row in rows):
        return None
    return count_masks((row.mask for row in rows), grid)


def read_tables(folder: str | Path) -> Tables:
    """Reads the tables that `Tables.write` wrote, or others with those columns; planes may be missing.

    Raises:
        InputError: No such folder, no lesions_3d.csv, no plane's table, or a damaged one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder that raxnet stats wrote")
    columns = COLUMNS_3D[:4]
    lesions_3d = _read(folder / "lesions_3d.csv", columns, columns[1:], columns[:1])
    planes = _read_planes(folder, "lesions", COLUMNS_PLANE)
    if not planes:
        raise InputError(f"{folder}: no lesions_<plane>.csv here; give the folder that raxnet stats wrote")
    for plane, frame in planes.items():
        strangers = sorted(set(frame["subject"]) - set(lesions_3d["subject"]))
        if strangers:
            raise InputError(
                f"{folder}/lesions_{plane}.csv: {strangers[0]} is not in lesions_3d.csv; "
                "run raxnet stats again"
            )
    about = _read_json(folder / "about.json", lambda content: (str(content["dataset"]), content["phantom"]))
    dataset, phantom = about or ("", False)
    return Tables(
        lesions_3d,
        planes,
        _read_planes(folder, "slices", COLUMNS_SLICES),
        _read_json(folder / "grid.json", grid_from_json),
        _read_locations(folder),
        nifti.read(folder / FREQUENCY, np.uint16) if (folder / FREQUENCY).exists() else None,
        dataset,
        bool(phantom),
    )


def edges(table: str, grid: Grid | None = None) -> np.ndarray:
    """Lower edges of the six categories of "3d" or a plane, in voxels or pixels of `grid`, (6,) float.

    The method's edges are for 1 mm; they keep their size in mm^3 or mm^2.
    """
    return np.array(EDGES[table], dtype=float) / _element(table, grid)


def size_category(sizes: np.ndarray, table: str, grid: Grid | None = None) -> np.ndarray:
    """Size categories 1..6 of lesion volumes or areas, bins (lo, hi]; 0 where there is no lesion.

    Args:
        sizes: (n,) voxels of a subject ("3d") or lesion pixels of a slice (a plane).
        table: "3d", "axial", "sagittal" or "coronal".
        grid: Grid of the scans; None means 1 mm.

    Returns:
        (n,) int64.
    """
    # Sizes are whole numbers: an edge of 22.2 voxels parts them as 22 does. 1e-6 forgives the division.
    return np.searchsorted(np.floor(edges(table, grid) + 1e-6), np.asarray(sizes), side="left").astype(
        np.int64
    )


@dataclass(frozen=True, eq=False)
class _Rows:
    subject: str
    lesions_3d: dict[str, str | int]
    planes: dict[str, pd.DataFrame]
    slices: dict[str, pd.DataFrame]
    grid: Grid
    locations: pd.DataFrame
    mask: PackedMask


def _tabulate(scan: Scan) -> _Rows:
    """All rows of one subject."""
    if scan.mask is None:
        raise ValueError(f"{scan.subject} has no mask")
    image = nifti.canonical(nifti.read(scan.image))
    nonzero = image.data > 0  # negative voxels are background, as in the training records
    grid = image.grid
    del image
    lesion = nifti.canonical(nifti.read(scan.mask)).data > 0
    if lesion.shape != nonzero.shape:
        raise InputError(
            f"{scan.mask}: shape {lesion.shape}, its scan has {nonzero.shape}; resample the mask"
        )
    if not lesion.any():
        raise InputError(
            f"{scan.mask}: no lesion in it; mend the mask or leave the subject out (raxnet check)"
        )
    found = components(lesion)
    row: dict[str, str | int] = {
        "subject": scan.subject,
        "lesions": len(found.sizes),
        "voxels": int(found.sizes.sum()),
        "largest": int(found.sizes[0]),
        "sizes": " ".join(map(str, found.sizes)),
    }
    planes, slices = {}, {}
    for plane in PLANES:
        frame = slice_lesions(lesion, plane)
        frame.insert(0, "subject", scan.subject)
        planes[plane] = frame
        slices[plane] = _all_slices(scan.subject, nonzero, lesion, plane)
    locations = locate(found, grid)
    locations.insert(0, "subject", scan.subject)
    return _Rows(scan.subject, row, planes, slices, grid, locations, pack(lesion))


def _all_slices(subject: str, nonzero: np.ndarray, lesion: np.ndarray, plane: str) -> pd.DataFrame:
    others = tuple(a for a in range(3) if a != AXIS[plane])
    return pd.DataFrame(
        {
            "subject": subject,
            "slice": np.arange(nonzero.shape[AXIS[plane]]),
            "nonzero": np.count_nonzero(nonzero, axis=others),
            "lesion_voxels": np.count_nonzero(lesion, axis=others),
        }
    )


def _element(table: str, grid: Grid | None) -> float:
    """Size of a voxel in mm^3 ("3d") or of a slice's pixel in mm^2."""
    if grid is None:
        return 1.0
    edges_mm = [e for axis, e in enumerate(grid.spacing) if axis != AXIS.get(table)]
    return round(float(np.prod(edges_mm)), 6)


def _read(path: Path, columns: Sequence[str], whole: Sequence[str], keys: Sequence[str]) -> pd.DataFrame:
    """A table that has `columns`, whole numbers in `whole`, and no two rows with the same `keys`."""
    try:
        frame = pd.read_csv(path, dtype={"subject": str, "sizes": str})
    except FileNotFoundError:
        raise InputError(f"{path}: no such table; give the folder that raxnet stats wrote") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable CSV table ({error}); run raxnet stats again") from None
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise InputError(f"{path}: column {missing[0]} is missing; expected {', '.join(columns)}")
    for column in whole:
        if not (pd.api.types.is_integer_dtype(frame[column]) or frame.empty):
            raise InputError(f"{path}: column {column} must hold whole numbers; run raxnet stats again")
    if frame["subject"].isna().any() or frame.duplicated(list(keys)).any():
        raise InputError(f"{path}: a subject is empty or a row is there twice; run raxnet stats again")
    return frame


def _read_planes(folder: Path, stem: str, columns: Sequence[str]) -> dict[str, pd.DataFrame]:
    paths = {plane: folder / f"{stem}_{plane}.csv" for plane in PLANES}
    return {p: _read(path, columns, columns[1:], columns[:2]) for p, path in paths.items() if path.exists()}


def _read_locations(folder: Path) -> Locations | None:
    lesions, subjects = folder / "locations.csv", folder / "locations_subjects.csv"
    if not lesions.exists():
        return None
    return Locations(
        _read(lesions, LESION_COLUMNS, ("lesion", "voxels"), ("subject", "lesion")),
        _read(subjects, SUBJECT_COLUMNS, PLACES, ("subject",)),
    )


def _read_json(path: Path, parse: Callable[[Any], Parsed]) -> Parsed | None:
    if not path.exists():
        return None
    try:
        return parse(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error}); run raxnet stats again") from None
