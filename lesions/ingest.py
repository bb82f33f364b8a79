"""One subject's scan and mask to training records of a plane."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lesions import nifti, statistics
from lesions.dataset import Scan
from lesions.errors import InputError
from lesions.grid import Grid, Volume
from lesions.slices import PLANES, Slice, cut

_BYTES_PER_VOXEL = 2 + 1  # uint16 intensity, uint8 mask
_OVERHEAD = 256  # bytes of a record that are not pixels, and of its index row, rounded up
FULL_SCALE = 65535  # uint16: a slice's maximum; steps are 0.004 of the network's 0-255 range


def projected_bytes(grid: Grid, subjects: int) -> int:
    """What the records of some subjects take on the disk in all three planes, at most: no slice is background."""
    voxels = int(np.prod(grid.shape))
    return subjects * (len(PLANES) * voxels * _BYTES_PER_VOXEL + sum(grid.shape) * _OVERHEAD)


def read_subject(scan: Scan, grid: Grid) -> tuple[Volume, np.ndarray]:
    """Reads a scan and its mask in RAS.

    Args:
        scan: With a mask.
        grid: What both must lie on.

    Returns:
        The float32 volume, and the mask as a boolean (X, Y, Z) array.

    Raises:
        InputError: A file cannot be read or lies on another grid.
    """
    if scan.mask is None:
        raise InputError(f"{scan.subject}: no lesion mask; training needs one")
    image = nifti.canonical(nifti.read(scan.image))
    mask = nifti.canonical(nifti.read(scan.mask))
    for path, volume in ((scan.image, image), (scan.mask, mask)):
        if not volume.grid.same_as(grid):
            raise InputError(f"{path}: its grid is not the data set's {grid.shape}; reslice it first")
    return image, mask.data > 0


def slices_of(subject: str, image: Volume, mask: np.ndarray, plane: str) -> Iterator[Slice]:
    """Yields the records of every slice that is not pure background, by ascending slice index.

    Args:
        subject: Its id.
        image: (X, Y, Z) intensities; negative ones count as 0.
        mask: (X, Y, Z) boolean.
        plane: axial, sagittal or coronal.

    Yields:
        Slices scaled to their own maximum (raxnet.md, 4), with the lesion's size category.
    """
    images, masks = cut(np.maximum(image.data, 0), plane), cut(mask, plane)
    peaks = images.max(axis=(1, 2))
    sizes = masks.sum(axis=(1, 2))
    categories = statistics.size_category(sizes, plane, image.grid)
    for index in np.flatnonzero(peaks > 0):
        pixels = np.rint(images[index] * (FULL_SCALE / peaks[index])).astype("<u2")
        yield Slice(
            subject=subject,
            plane=plane,
            slice=int(index),
            height=pixels.shape[0],
            width=pixels.shape[1],
            image=pixels.tobytes(),
            mask=np.ascontiguousarray(masks[index], dtype=np.uint8).tobytes(),
            lesion_voxels=int(sizes[index]),
            size_category=int(categories[index]),
        )
