"""Lesion statistics: sizes and counts of lesions per subject and per slice of each plane (raxnet.md, 2)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from lesions import nifti
from lesions.dataset import Scan
from lesions.errors import InputError
from lesions.files import write_csv, write_text
from lesions.grid import Grid, grid_from_json
from lesions.parallel import map_subjects
from lesions.progress import Progress
from lesions.slices import AXIS, PLANES

CATEGORIES = 6
# Lower edges of the categories at 1 mm, voxels or pixels; (lo, hi], the last one open (raxnet.md, 2).
EDGES = {
    "3d": (0, 5_000, 30_000, 60_000, 100_000, 200_000),
    "axial": (0, 200, 500, 1_000, 2_000, 3_000),
    "sagittal": (0, 500, 1_000, 2_000, 3_000, 5_000),
    "coronal": (0, 200, 500, 1_000, 2_000, 3_000),
}
COLUMNS_3D = ("subject", "lesions", "voxels", "largest", "sizes")
COLUMNS_PLANE = ("subject", "slice", "lesions", "voxels", "largest")
COLUMNS_SLICES = ("subject", "slice", "nonzero", "lesion_voxels")


@dataclass(frozen=True, eq=False)
class Tables:
    """Statistics of a data set.

    Attributes:
        lesions_3d: A row per subject: subject, lesions (26-connected components), voxels, largest, sizes (all
            component sizes, largest first, separated by spaces; absent in tables of other origin).
        planes: By plane, a row per slice with lesion: subject, slice, lesions (8-connected), voxels, largest.
        slices: By plane, a row per slice: subject, slice, nonzero (image voxels above 0), lesion_voxels.
        grid: Grid of the scans; None means 1 mm.
    """

    lesions_3d: pd.DataFrame
    planes: dict[str, pd.DataFrame]
    slices: dict[str, pd.DataFrame] = field(default_factory=dict)
    grid: Grid | None = None

    def write(self, folder: str | Path) -> None:
        """Writes lesions_3d.csv, lesions_{plane}.csv, slices_{plane}.csv, grid.json; each appears whole."""
        folder = Path(folder)
        write_csv(folder / "lesions_3d.csv", self.lesions_3d)
        for plane, frame in self.planes.items():
            write_csv(folder / f"lesions_{plane}.csv", frame)
        for plane, frame in self.slices.items():
            write_csv(folder / f"slices_{plane}.csv", frame)
        if self.grid is not None:
            write_text(folder / "grid.json", json.dumps(self.grid.as_json()) + "\n")


def compute_tables(scans: Sequence[Scan], workers: int = 1, progress: Progress | None = None) -> Tables:
    """Reads every scan that has a mask, one at a time in each worker, and tabulates its lesions.

    Args:
        scans: Those without a mask are passed over; one session per subject.
        workers: Processes; each holds one scan and its mask (about 250 MB in all at 1 mm).
        progress: Called with (subjects done, subjects).

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
    )


def read_tables(folder: str | Path) -> Tables:
    """Reads the tables that `Tables.write` wrote, or others with those columns; planes may be missing.

    Raises:
        InputError: No such folder, no lesions_3d.csv, no plane's table, or a damaged one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder that raxnet stats wrote")
    lesions_3d = _read(folder / "lesions_3d.csv", COLUMNS_3D[:4])
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
    return Tables(lesions_3d, planes, _read_planes(folder, "slices", COLUMNS_SLICES), _read_grid(folder))


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
    sizes = component_sizes(lesion)
    row: dict[str, str | int] = {
        "subject": scan.subject,
        "lesions": len(sizes),
        "voxels": int(sizes.sum()),
        "largest": int(sizes[0]),
        "sizes": " ".join(map(str, sizes)),
    }
    planes, slices = {}, {}
    for plane in PLANES:
        frame = slice_lesions(lesion, plane)
        frame.insert(0, "subject", scan.subject)
        planes[plane] = frame
        slices[plane] = _all_slices(scan.subject, nonzero, lesion, plane)
    return _Rows(scan.subject, row, planes, slices, grid)


def component_sizes(lesion: np.ndarray) -> np.ndarray:
    """Voxels of each 26-connected component of a (X, Y, Z) bool mask, largest first."""
    labels, _ = ndimage.label(_cropped(lesion)[0], np.ones((3, 3, 3)))
    return np.sort(np.bincount(labels.ravel())[1:])[::-1]


def slice_lesions(lesion: np.ndarray, plane: str) -> pd.DataFrame:
    """8-connected components of each slice of a plane that has lesion.

    Args:
        lesion: (X, Y, Z) bool mask.
        plane: axial, sagittal or coronal.

    Returns:
        Columns slice, lesions, voxels, largest; a row per slice with lesion, ascending.
    """
    axis = AXIS[plane]
    cropped, start = _cropped(lesion)
    # Neighbors only within the slice: one call labels all slices.
    within = np.zeros((3, 3, 3), dtype=bool)
    within[tuple(1 if a == axis else slice(None) for a in range(3))] = True
    labels, count = ndimage.label(cropped, within)
    where = np.nonzero(labels)
    component = labels[where] - 1
    sizes = np.bincount(component, minlength=count)
    slice_of = np.zeros(count, dtype=np.int64)
    slice_of[component] = where[axis]
    depth = cropped.shape[axis]
    largest = np.zeros(depth, dtype=np.int64)
    np.maximum.at(largest, slice_of, sizes)
    frame = pd.DataFrame(
        {
            "slice": np.arange(depth) + start[axis],
            "lesions": np.bincount(slice_of, minlength=depth),
            "voxels": np.bincount(where[axis], minlength=depth),
            "largest": largest,
        }
    )
    return frame[frame["voxels"] > 0].reset_index(drop=True)


def _cropped(lesion: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int]]:
    """The mask's bounding box and where it starts: labeling it alone is many times faster."""
    spans = []
    for axis in range(3):
        used = np.flatnonzero(lesion.any(axis=tuple(a for a in range(3) if a != axis)))
        spans.append(slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 0))
    return lesion[tuple(spans)], (spans[0].start, spans[1].start, spans[2].start)


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


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, dtype={"subject": str, "sizes": str})
    except FileNotFoundError:
        raise InputError(f"{path}: no such table; give the folder that raxnet stats wrote") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable CSV table ({error}); run raxnet stats again") from None
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise InputError(f"{path}: column {missing[0]} is missing; expected {', '.join(columns)}")
    for column in columns[1:]:
        if not (column == "sizes" or pd.api.types.is_integer_dtype(frame[column]) or frame.empty):
            raise InputError(f"{path}: column {column} must hold whole numbers; run raxnet stats again")
    if (
        frame["subject"].isna().any()
        or frame.duplicated(list(columns[: 2 if columns[1] == "slice" else 1])).any()
    ):
        raise InputError(f"{path}: a subject is empty or a row is there twice; run raxnet stats again")
    return frame


def _read_planes(folder: Path, stem: str, columns: Sequence[str]) -> dict[str, pd.DataFrame]:
    paths = {plane: folder / f"{stem}_{plane}.csv" for plane in PLANES}
    return {plane: _read(path, columns) for plane, path in paths.items() if path.exists()}


def _read_grid(folder: Path) -> Grid | None:
    path = folder / "grid.json"
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
        return grid_from_json(content)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a grid ({error}); run raxnet stats again") from None
