"""Slices for other programs: the arrays and 2-D files that the method's original data preparation made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from lesions import batches, nifti
from lesions.dataset import Scan
from lesions.errors import InputError
from lesions.files import require_space, whole_folder, write_csv
from lesions.grid import Grid, Volume
from lesions.ingest import read_subject
from lesions.progress import Progress
from lesions.slices import AXIS, canvas, cut, slice_shape
from lesions.statistics import Tables

TRAINING, VALIDATION = "training", "validation"
_ROOM = "free some space, export fewer planes or folds, or give another folder"


@dataclass(frozen=True)
class ArrayOptions:
    """Which arrays: of which planes and validation folds, in batches of which size, or flat."""

    planes: Sequence[str]
    validation_folds: Sequence[int]
    batch_size: int
    seed: int
    flat: bool = False


@dataclass
class _Pair:
    """An image and a mask array that are being written, and which slice goes where."""

    rows: pd.DataFrame  # subject, slice; row i is written at i
    images: list[np.memmap] = field(default_factory=list)  # the full batches, and what is left over
    masks: list[np.memmap] = field(default_factory=list)

    def put(self, number: int, image: np.ndarray, mask: np.ndarray) -> None:
        """Writes slice `number` into the array that it falls into."""
        for images, masks in zip(self.images, self.masks, strict=True):
            flat = int(np.prod(images.shape[:-3]))
            if number < flat:
                images.reshape(flat, *images.shape[-3:])[number, ..., 0] = image
                masks.reshape(flat, *masks.shape[-3:])[number, ..., 0] = mask
                return
            number -= flat


def write_arrays(
    out: Path,
    scans: Sequence[Scan],
    tables: Tables,
    folds: pd.DataFrame,
    options: ArrayOptions,
    progress: Progress | None = None,
) -> list[Path]:
    """Writes one epoch's slices as .npy arrays that can be memory-mapped.

    Their shape and intensities are the original's (docs/spec/method.md#slices,
    docs/spec/method.md#distribution-batches).

    For each plane, validation fold and part (training, validation) there are images.npy and masks.npy, float32:
    (batches, batch_size, rows, columns, 1), or flat (n, rows, columns, 1), intensities in 0-255 on the network's
    canvas; a last, short batch is in images_last.npy and masks_last.npy, since no slice is dropped; slices.csv
    says which slice each is. One subject is in memory at a time.

    Args:
        out: Folder to make.
        scans: Of every subject in the folds, with masks.
        tables: Their statistics, with the tables of every slice.
        folds: Columns subject, fold.
        options: What to write.
        progress: Called with (subjects done, subjects).

    Returns:
        The folders written, <out>/<plane>/fold_<k>/<part>.

    Raises:
        InputError: `out` is there already, the disk is too full, a fold is not there, or a scan cannot be read.
    """
    grid = _grid(tables)
    plans = {}
    for plane in options.planes:
        for fold in options.validation_folds:
            for part in (TRAINING, VALIDATION):
                plans[plane, fold, part] = _plan(tables, folds, plane, fold, part, options)
    needed = sum(len(rows) * 8.0 * _pixels(grid, plane) for (plane, _, _), rows in plans.items())
    require_space(out, needed, _ROOM)
    with whole_folder(out) as partial:
        pairs = {
            key: _open_pair(partial / _folder(*key), rows, grid, key[0], options)
            for key, rows in plans.items()
        }
        for done, scan in enumerate(scans, 1):
            _fill(scan, grid, pairs)
            if progress:
                progress(done, len(scans))
        for pair in pairs.values():
            for array in (*pair.images, *pair.masks):
                array.flush()
    return [out / _folder(*key) for key in plans]


def write_slices(
    out: Path, scans: Sequence[Scan], grid: Grid, planes: Sequence[str], progress: Progress | None = None
) -> int:
    """Writes every slice that is not background, and its mask, as NIfTI files one voxel thick, in place.

    Args:
        out: Folder to make: <out>/<plane>/<subject>/<subject>_slice-<index>_{T1w,mask}.nii.gz.
        scans: With masks.
        grid: Of all of them.
        planes: Which.
        progress: Called with (subjects done, subjects).

    Returns:
        The number of slices written.

    Raises:
        InputError: `out` is there already, or a scan cannot be read.
    """
    written = 0
    with whole_folder(out) as partial:
        for done, scan in enumerate(scans, 1):
            image, mask = read_subject(scan, grid)
            for plane in planes:
                for index in np.flatnonzero(cut(image.data, plane).max(axis=(1, 2)) > 0):
                    name = partial / plane / scan.subject / f"{scan.subject}_slice-{index:03d}"
                    nifti.write(Path(f"{name}_T1w.nii.gz"), _thin(image.data, grid, plane, int(index)))
                    nifti.write(
                        Path(f"{name}_mask.nii.gz"), _thin(mask.astype(np.uint8), grid, plane, int(index))
                    )
                    written += 1
            if progress:
                progress(done, len(scans))
    return written


def _plan(
    tables: Tables, folds: pd.DataFrame, plane: str, fold: int, part: str, options: ArrayOptions
) -> pd.DataFrame:
    """The rows of a part in the order of its batches, with their batch's number."""
    if part == TRAINING:
        rows = batches.training_slices(tables, folds, plane, fold)
    else:
        rows = batches.subjects_slices(tables, plane, folds.loc[folds["fold"] == fold, "subject"])
    plan = batches.plan(rows["category"].to_numpy(), options.batch_size, options.seed, 0)
    ordered = rows.iloc[np.concatenate(plan)].reset_index(drop=True)
    ordered.insert(0, "batch", np.repeat(np.arange(1, len(plan) + 1), [len(batch) for batch in plan]))
    return ordered


def _open_pair(folder: Path, rows: pd.DataFrame, grid: Grid, plane: str, options: ArrayOptions) -> _Pair:
    folder.mkdir(parents=True)
    write_csv(folder / "slices.csv", rows)
    size = (*canvas(grid.shape, plane).padded(*slice_shape(grid.shape, plane)), 1)
    with_normals = (rows["category"] == batches.NORMAL).any()
    size_of_batch = options.batch_size if with_normals else options.batch_size // 2
    full, rest = divmod(len(rows), size_of_batch)
    shapes: dict[str, tuple[int, ...]] = {}
    if options.flat:
        shapes[""] = (len(rows), *size)
    else:
        if full:
            shapes[""] = (full, size_of_batch, *size)
        if rest:
            shapes["_last"] = (rest, *size)
    pair = _Pair(rows)
    for suffix, shape in shapes.items():
        for name, arrays in (("images", pair.images), ("masks", pair.masks)):
            path = folder / f"{name}{suffix}.npy"
            arrays.append(np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape))
    return pair


def _fill(scan: Scan, grid: Grid, pairs: Mapping[tuple[str, int, str], _Pair]) -> None:
    """Writes a subject's slices wherever they are wanted; reads it once, and only if they are."""
    wanted = {key: np.flatnonzero(pair.rows["subject"] == scan.subject) for key, pair in pairs.items()}
    if not any(len(numbers) for numbers in wanted.values()):
        return
    image, mask = read_subject(scan, grid)
    for key, numbers in wanted.items():
        padding = canvas(grid.shape, key[0])
        images, masks = cut(np.maximum(image.data, 0), key[0]), cut(mask, key[0])
        for number in numbers:
            index = int(pairs[key].rows["slice"].iloc[number])
            peak = float(images[index].max())
            scaled = images[index] * (255.0 / peak if peak > 0 else 0.0)  # a zero slice stays zero
            pads = (padding.rows, padding.columns)
            pairs[key].put(int(number), np.pad(scaled, pads), np.pad(masks[index], pads))


def _thin(data: np.ndarray, grid: Grid, plane: str, index: int) -> Volume:
    """Slice `index` as a volume one voxel thick that lies where it lay."""
    axis = AXIS[plane]
    thin = np.take(data, [index], axis)
    matrix = grid.matrix.copy()
    matrix[:3, 3] += index * matrix[:3, axis]
    return Volume(thin, Grid.of(thin.shape, matrix))


def _grid(tables: Tables) -> Grid:
    if tables.grid is None:
        raise InputError("tables: no grid in them; measure the lesions again")
    return tables.grid


def _pixels(grid: Grid, plane: str) -> int:
    rows, columns = canvas(grid.shape, plane).padded(*slice_shape(grid.shape, plane))
    return rows * columns


def _folder(plane: str, fold: int, part: str) -> str:
    return f"{plane}/fold_{fold}/{part}"
