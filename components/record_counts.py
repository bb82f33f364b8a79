"""Whether the records are all there, each once: what lies on the disk, held against the lesion tables.

Distributed runners do work twice where a worker was lost, and may lose some; a data set that is short or doubled
trains without an error and is worth nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from lesions.errors import WorkError
from trainer import records

_SAID = 5  # subjects named in an error
_REMEDY = "run again"


def check(examples: Path, fold_of: Mapping[str, int], slices: pd.DataFrame) -> dict[int, int]:
    """Holds a plane's shards and indexes against the slices that the subjects have.

    Args:
        examples: Folder of the plane's Examples artifact.
        fold_of: Subject -> fold, of those ingested.
        slices: The plane's table of every slice: subject, slice, nonzero.

    Returns:
        Fold -> number of its records.

    Raises:
        WorkError: A subject is missing, there twice or not one of these; or its records are not those of its slices
            that have a voxel above 0, each once, in a shard of the length that its index says.
    """
    wanted = {(fold, subject) for subject, fold in fold_of.items()}
    for pattern in ("Split-fold_*/*.tfrecord", "index/fold_*/*.npy"):
        _same(examples, pattern, wanted)
    filled = slices[slices["nonzero"] > 0]
    expected = {str(subject): np.sort(rows) for subject, rows in filled.groupby("subject")["slice"]}
    counts = dict.fromkeys(sorted(set(fold_of.values())), 0)
    for fold, subject in sorted(wanted):
        rows = np.load(records.index_path(examples, fold, subject))
        shard = records.shard_path(examples, fold, subject)
        own = expected.get(subject, np.empty(0, np.int64))
        if not np.array_equal(rows["slice"], own):
            raise WorkError(
                f"{shard}: {len(own)} records expected by the lesion tables, found {len(rows)}; {_REMEDY}"
            )
        if (size := shard.stat().st_size) != (planned := records.shard_bytes(rows)):
            raise WorkError(f"{shard}: {planned} bytes expected by its index, found {size}; {_REMEDY}")
        counts[fold] += len(rows)
    return counts


def _same(examples: Path, pattern: str, wanted: set[tuple[int, str]]) -> None:
    """Raises WorkError unless the files of a pattern are those of these folds and subjects."""
    files = examples.glob(pattern)
    found = {(int(path.parent.name.rpartition("_")[2]), path.stem) for path in files}
    missing, others = wanted - found, found - wanted
    if missing or others:
        raise WorkError(
            f"{examples / pattern}: {len(wanted)} subjects expected, found {len(found)}; missing {_names(missing)}, "
            f"in another fold or of another data set {_names(others)}; {_REMEDY}"
        )


def _names(places: Iterable[tuple[int, str]]) -> str:
    names = sorted(subject for _, subject in places)
    return (", ".join(names[:_SAID]) + (", ..." if len(names) > _SAID else "")) or "none"
