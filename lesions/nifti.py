"""Reading and writing NIfTI, with errors that a person can act on."""

from __future__ import annotations

import logging
import os
import zlib
from contextlib import suppress
from pathlib import Path

import nibabel as nib
import numpy as np

from lesions.errors import InputError
from lesions.grid import Grid, Volume

logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # it prints each oddity of a header

ENCRYPTED = (
    b"Salted__",
    b"U2FsdGVkX1",
)  # how a file begins that OpenSSL encrypted: as bytes, or with -a in base64
DECRYPT = "decrypt it first (openssl aes-256-cbc -md sha256 -d -a; without -a if it is not base64)"
MOST_PACKED = 1032  # gzip makes nothing smaller than this many times
UNREADABLE = (
    *(OSError, EOFError, ValueError, OverflowError, zlib.error),
    *(nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError),
)
_GEOMETRY = (
    *("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("sform_code", "srow_x", "srow_y", "srow_z", "xyzt_units"),
)


def is_encrypted(path: Path) -> bool:
    """Whether a file begins as OpenSSL's encrypted ones do."""
    with path.open("rb") as stream:
        return stream.read(10).startswith(ENCRYPTED)


def read(path: str | Path, dtype: type = np.float32) -> Volume:
    """Reads a 3-D NIfTI volume in the file's own orientation, scaled by its slope and intercept.

    Args:
        path: A .nii or .nii.gz file. A fourth dimension of length one is dropped.
        dtype: Type of the voxels in memory; no float64 copy is made on the way.

    Returns:
        The volume, finite or not: `lesions.checks` judges it.

    Raises:
        InputError: The file is missing, encrypted, truncated, no NIfTI, not 3-D, or without usable affine.
    """
    image = _open(Path(path))
    grid = _grid(Path(path), image)
    shape = grid.shape
    stored = int(np.prod(shape, dtype=float)) * image.get_data_dtype().itemsize
    if Path(path).stat().st_size * (MOST_PACKED if str(path).endswith(".gz") else 1) < stored:
        raise InputError(f"{path}: too small for its shape {shape}, truncated; copy or download it again")
    try:
        data: np.ndarray = np.asanyarray(image.dataobj, dtype=dtype).reshape(shape)
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read to its end ({error}); copy or download it again") from None
    except MemoryError:
        raise InputError(f"{path}: shape {shape} does not fit into memory; check the file's header") from None
    return Volume(data, grid)


def read_grid(path: str | Path) -> Grid:
    """Reads the header alone. Raises InputError as `read` does."""
    return _grid(Path(path), _open(Path(path)))


def _grid(path: Path, image: nib.Nifti1Image) -> Grid:
    shape = image.shape[:3] if image.shape[3:] == (1,) else image.shape
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"{path}: expected a 3-D volume, found {image.shape}; give one volume per file")
    if image.get_data_dtype().kind not in "iuf":
        found = image.get_data_dtype()
        raise InputError(f"{path}: expected numbers as voxels, found {found}; convert it to float32")
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine)) < 1e-9:
        raise InputError(f"{path}: its affine is not usable (zero or not finite); mend sform or qform")
    return Grid.of(shape, image.affine)


def _open(path: Path) -> nib.Nifti1Image:
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    try:
        if is_encrypted(path):
            raise InputError(f"{path}: still encrypted; {DECRYPT}")
        image = nib.load(path)
    except UNREADABLE as error:
        reason = str(error).replace("\n", " ")
        raise InputError(f"{path}: not a readable NIfTI file ({reason}); copy or download it again") from None
    if not isinstance(image, nib.Nifti1Image | nib.Nifti2Image):
        raise InputError(f"{path}: not NIfTI but {type(image).__name__}; convert it to .nii.gz")
    return image


def canonical(volume: Volume) -> Volume:
    """Reorders and flips the axes so that they run to the right, anterior and superior (RAS)."""
    return oriented_like(volume, np.eye(4))


def oriented_like(volume: Volume, affine: np.ndarray) -> Volume:
    """Reorders and flips the axes so that they run as those of `affine`; no voxel changes its value or place.

    Args:
        volume: Any orientation.
        affine: (4, 4), whose axes are the model; two calls, there and back, restore a volume exactly.
    """
    orientations = nib.orientations
    now = orientations.io_orientation(volume.grid.matrix)
    change = orientations.ornt_transform(now, orientations.io_orientation(affine))
    data = orientations.apply_orientation(volume.data, change)
    matrix = volume.grid.matrix @ orientations.inv_ornt_aff(change, volume.data.shape)
    return Volume(data, Grid.of(data.shape, matrix))


def write(path: str | Path, volume: Volume, intent: str | None = None, like: Path | None = None) -> None:
    """Writes a volume as NIfTI: to a temporary name beside it first, then renamed.

    Args:
        path: Ends in .nii or .nii.gz; its folder is made.
        volume: Written with the array's own type, in mm.
        intent: A description for the header, 80 characters at most.
        like: A NIfTI file on the same grid, whose sform, qform, their codes and units are kept bit by bit;
            without it the space is MNI152 (sform and qform code 4).

    Raises:
        InputError: The folder cannot be written.
    """
    path = Path(path)
    image = _image(volume) if like is None else _image_like(volume, _open(like))
    if intent:
        image.header["descrip"] = intent.encode("ascii", "replace")[:80]
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(image, partial)
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another folder") from None
    finally:
        with suppress(OSError):  # its folder may be a file
            partial.unlink()


def _image(volume: Volume) -> nib.Nifti1Image:
    image = nib.Nifti1Image(volume.data, volume.grid.matrix, dtype=volume.data.dtype)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(volume.grid.matrix, code=4)
    image.set_qform(volume.grid.matrix, code=4)
    return image


def _image_like(volume: Volume, model: nib.Nifti1Image) -> nib.Nifti1Image:
    # Only the geometry: free text and extensions of a scan's header can name the person.
    header = type(model.header)()
    for field in _GEOMETRY:
        header[field] = model.header[field]
    header["pixdim"][:4] = model.header["pixdim"][:4]
    header.set_data_dtype(volume.data.dtype)
    header.set_data_shape(volume.data.shape)
    return type(model)(volume.data, model.affine, header)
