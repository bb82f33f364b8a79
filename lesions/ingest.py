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
_OVERHEAD = 320  # bytes of a record that are not pixels, and of its row in the index, with a subject's id of 64 letters
FULL_SCALE = 65535  # uint16: a slice's maximum; steps are 0.004 of the network's 0-255 range
_BLOCK = 16  # slices copied at a time: a cache line of float32, which is what cutting across the voxels' order reads


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
    mask = nifti.canonical(nifti.read_mask(scan.mask))
    for path, volume in ((scan.image, image), (scan.mask, mask)):
        if not volume.grid.same_as(grid):
            raise InputError(f"{path}: its grid is not the data set's {grid.shape}; reslice it first")
    return image, mask.data


def slices_of(subject: str, image: Volume, mask: np.ndarray, plane: str) -> Iterator[Slice]:
    """Yields the records of every slice that is not pure background, by ascending slice index.

    Args:
        subject: Its id.
        image: (X, Y, Z) intensities; negative ones count as 0.
        mask: (X, Y, Z) boolean.
        plane: axial, sagittal or coronal.

    Yields:
        Slices scaled to their own maximum (docs/spec/method.md#slices), with the lesion's size category.
    """
    images, masks = cut(image.data, plane), cut(mask, plane)
    peaks = images.max(axis=(1, 2))
    sizes = np.count_nonzero(masks, axis=(1, 2))
    categories = statistics.size_category(sizes, plane, image.grid)
    height, width = images.shape[1:]
    first, end = _span(sizes > 0)
    truth, healthy = masks[first:end].astype(np.uint8, order="C"), bytes(height * width)
    for start in range(0, len(images), _BLOCK):
        block = slice(start, start + _BLOCK)
        kept = start + np.flatnonzero(peaks[block] > 0)
        if not len(kept):
            continue
        pixels = _scaled(images[block], peaks[block])
        for index in map(int, kept):
            yield Slice(
                subject=subject,
                plane=plane,
                slice=index,
                height=height,
                width=width,
                image=pixels[index - start].tobytes(),
                mask=truth[index - first].tobytes() if sizes[index] else healthy,
                lesion_voxels=int(sizes[index]),
                size_category=int(categories[index]),
            )


def _span(wanted: np.ndarray) -> tuple[int, int]:
    """Where the first True is, and the place after the last one; both 0 where there is none."""
    places = np.flatnonzero(wanted)
    return (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)


def _scaled(images: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Slices (n, height, width), row-major, as uint16 shares of their own peaks; those without one as anything."""
    pixels = np.array(images, np.float32, order="C")
    pixels /= np.where(peaks > 0, peaks, 1)[:, np.newaxis, np.newaxis]
    pixels *= FULL_SCALE
    np.maximum(pixels, 0, out=pixels)
    np.rint(pixels, out=pixels)
    return pixels.astype("<u2")
