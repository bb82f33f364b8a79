"""Connected components of a lesion mask, in 3-D and in the slices of a plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage

from lesions.slices import AXIS


@dataclass(frozen=True, eq=False)
class Components:
    """The lesions of a mask, ranked by size.

    Attributes:
        labels: The mask's bounding box; 0 = no lesion, 1 = the largest lesion, 2 = the next, ...
        start: The box's first voxel in the volume.
        sizes: (n,) voxels of each lesion, largest first.
    """

    labels: np.ndarray
    start: tuple[int, int, int]
    sizes: np.ndarray


def components(lesion: np.ndarray) -> Components:
    """26-connected components of a (X, Y, Z) bool mask (docs/spec/method.md#lesion-statistics).

    Equally large ones are in voxel order.
    """
    box, start = cropped(lesion)
    labels, count = ndimage.label(box, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")
    rank = np.zeros(count + 1, dtype=labels.dtype)
    rank[order + 1] = np.arange(1, count + 1)
    return Components(rank[labels], start, sizes[order])


def slice_lesions(lesion: np.ndarray, plane: str) -> pd.DataFrame:
    """8-connected components of each slice of a plane that has lesion.

    Args:
        lesion: (X, Y, Z) bool mask.
        plane: axial, sagittal or coronal.

    Returns:
        Columns slice, lesions, voxels, largest; a row per slice with lesion, ascending.
    """
    axis = AXIS[plane]
    box, start = cropped(lesion)
    # Neighbors only within the slice: one call labels all slices.
    within = np.zeros((3, 3, 3), dtype=bool)
    within[tuple(1 if a == axis else slice(None) for a in range(3))] = True
    labels, count = ndimage.label(box, within)
    where = np.nonzero(labels)
    component = labels[where] - 1
    sizes = np.bincount(component, minlength=count)
    slice_of = np.zeros(count, dtype=np.int64)
    slice_of[component] = where[axis]
    depth = box.shape[axis]
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


def cropped(lesion: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int]]:
    """The mask's bounding box and where it starts: labeling it alone is many times faster."""
    spans = []
    for axis in range(3):
        used = np.flatnonzero(lesion.any(axis=tuple(a for a in range(3) if a != axis)))
        spans.append(slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 0))
    return lesion[tuple(spans)], (spans[0].start, spans[1].start, spans[2].start)
