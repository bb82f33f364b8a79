"""Lesion sizes before and after the split: groups of sizes, size categories, units."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from lesions.grid import Grid
from lesions.slices import AXIS
from lesions.statistics import CATEGORIES, edges, size_category

WHOLE, TRAINING, HOLDOUT = "Whole", "Training", "Hold-out"


def groups(table: pd.DataFrame, folds: pd.DataFrame) -> dict[str, np.ndarray]:
    """Sizes of the whole table, of the hold-out and of every training fold.

    Args:
        table: subject, voxels: a row per subject or slice. Rows without a lesion are left out.
        folds: subject, fold (0 = hold-out); may be empty, then only the whole is returned.

    Returns:
        "Whole", "Hold-out", "Fold 1", ... -> sizes in voxels. "Whole" is before the split.
    """
    table = table[table["voxels"] > 0]
    found = {WHOLE: table["voxels"].to_numpy()}
    if folds.empty:
        return found
    fold_of = table["subject"].map(folds.set_index("subject")["fold"])
    for fold in sorted(int(f) for f in folds["fold"].unique()):
        found[part_name(fold)] = table["voxels"].to_numpy()[fold_of == fold]
    return found


def halves(sizes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The groups of `groups` with all training folds as one: Whole, Training, Hold-out (where there is one)."""
    folds = [values for name, values in sizes.items() if name not in (WHOLE, HOLDOUT)]
    found = {WHOLE: sizes[WHOLE], TRAINING: np.concatenate(folds) if folds else np.array([], dtype=int)}
    return found | ({HOLDOUT: sizes[HOLDOUT]} if HOLDOUT in sizes else {})


def part_name(fold: int) -> str:
    """What a fold number is called: "Hold-out", "Fold 1", ..."""
    return HOLDOUT if fold == 0 else f"Fold {fold}"


def table_name(table: str) -> str:
    """What a table is called: "3-D" or its plane, capitalized."""
    return "3-D" if table == "3d" else table.capitalize()


def rows_name(table: str, count: int) -> str:
    """How many rows a table has, in words: "655 subjects", "1 slice with a lesion"."""
    return counted(count, "subject") if table == "3d" else f"{counted(count, 'slice')} with a lesion"


def counted(count: int, noun: str) -> str:
    """A number of things: "1 subject", "1,344 lesions"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def category_sizes(sizes: np.ndarray, table: str, grid: Grid | None) -> np.ndarray:
    """How many sizes, in voxels, lie in each of the six size categories, (6,); zeros are left out."""
    return np.bincount(size_category(sizes, table, grid), minlength=CATEGORIES + 1)[1:]


def category_counts(sizes: dict[str, np.ndarray], table: str, grid: Grid | None) -> pd.DataFrame:
    """How many lesions or slices of each group lie in each of the six size categories.

    Args:
        sizes: Of `groups`.
        table: "3d" or a plane: it decides the categories' edges
            (docs/spec/method.md#size-categories).
        grid: Scales the edges, which are for 1 mm; None leaves them.

    Returns:
        A row per group: Group, n, and a column per category, each as "count (percent)".
    """
    rows = [
        [name, len(values), *(share(count, len(values)) for count in category_sizes(values, table, grid))]
        for name, values in sizes.items()
    ]
    return pd.DataFrame(rows, columns=["Group", "n", *category_names(table, grid)])


def share(count: int, total: int) -> str:
    """A count with its share of a total: "319 (48.7 %)"."""
    return f"{count:,} ({100 * count / max(total, 1):.1f} %)"


def size_unit(table: str, grid: Grid | None) -> tuple[float, str]:
    """What a voxel count is multiplied with, and the axis label that then holds."""
    if grid is None:
        return 1.0, "lesion volume (voxels)" if table == "3d" else "lesion size per slice (pixels)"
    if table == "3d":
        return grid.voxel_volume / 1000.0, "lesion volume per subject (mL)"
    return grid.voxel_volume / grid.spacing[AXIS[table]], "lesion area per slice (mm²)"


def category_names(table: str, grid: Grid | None) -> list[str]:
    """The six categories by their edges, in the unit of `category_unit`: "0 to 5", ..., "over 200"."""
    bounds = [f"{edge:,g}" for edge in edges(table, grid) * size_unit(table, grid)[0]]
    return [*(f"{low} to {high}" for low, high in itertools.pairwise(bounds)), f"over {bounds[-1]}"]


def category_unit(table: str, grid: Grid | None) -> str:
    """What the edges of `category_names` are in."""
    if grid is None:
        return "voxels" if table == "3d" else "pixels"
    return "mL" if table == "3d" else "mm²"
