"""The bounding box of a mask: what lies outside need not be labeled, measured or searched."""

from __future__ import annotations

import numpy as np


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """The least box that holds all of a mask.

    Args:
        mask: Bool array of any number of axes.

    Returns:
        A slice per axis; of length 0 on every axis where nothing is set.
    """
    box = [slice(0, 0)] * mask.ndim
    inside = mask
    # Memory's slowest axis first: the others then search only what it left.
    for axis in sorted(range(mask.ndim), key=lambda a: -abs(mask.strides[a])):
        used = np.flatnonzero(inside.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        if not len(used):
            return tuple([slice(0, 0)] * mask.ndim)
        box[axis] = slice(int(used[0]), int(used[-1]) + 1)
        inside = mask[tuple(box[a] if box[a].stop else slice(None) for a in range(mask.ndim))]
    return tuple(box)
