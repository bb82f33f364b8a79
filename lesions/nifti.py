"""Reading and writing NIfTI, with errors that a person can act on."""

from __future__ import annotations

import gzip
import logging
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import nibabel as nib
import numpy as np

from lesions.errors import InputError
from lesions.grid import Grid, Volume

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


def _fastest() -> tuple[Any, Any]:
    """The gzip and zlib of isal, three times as fast, or the standard library's where isal has no wheel."""
    try:
        from isal import igzip, isal_zlib
    except ImportError:
        return gzip, zlib
    return igzip, isal_zlib


_GZIP, _ZLIB = _fastest()
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # it prints each oddity of a header

ENCRYPTED = (
    b"Salted__",
    b"U2FsdGVkX1",
)  # how a file begins that OpenSSL encrypted: as bytes, or with -a in base64
DECRYPT = "decrypt it first (openssl aes-256-cbc -md sha256 -d -a; without -a if it is not base64)"
MOST_PACKED = 1032  # gzip makes nothing smaller than this many times
_PIECE = 1 << 18  # bytes converted at a time: they stay in the processor's cache
UNREADABLE = (
    *(OSError, EOFError, ValueError, OverflowError, KeyError, zlib.error, _ZLIB.error),
    *(nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError),
)
Store = Callable[[np.ndarray, np.ndarray], object]
_GEOMETRY = (
    *("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("sform_code", "srow_x", "srow_y", "srow_z", "xyzt_units"),
)


def is_encrypted(path: Path) -> bool:
    """Whether a file begins as OpenSSL's encrypted ones do."""
    with path.open("rb") as stream:
        return stream.read(10).startswith(ENCRYPTED)


def read(path: str | Path, dtype: DTypeLike = np.float32) -> Volume:
    """Reads a 3-D NIfTI volume in the file's own orientation, scaled by its slope and intercept.

    The file is opened once, and decompressed and converted piece by piece: besides the result no copy of the volume
    is made, whatever the file's own type.

    Args:
        path: A .nii or .nii.gz file. A fourth dimension of length one is dropped.
        dtype: Type of the voxels in memory.

    Returns:
        The volume, finite or not: `lesions.checks` judges it.

    Raises:
        InputError: The file is missing, encrypted, truncated, damaged, no NIfTI, not 3-D, or without usable affine.
    """
    return _read(Path(path), dtype, lambda values, out: np.copyto(out, values, casting="unsafe"))


def read_mask(path: str | Path) -> Volume:
    """Reads a mask as booleans, True where the scaled value is above 0; otherwise as `read`."""
    return _read(Path(path), np.bool_, lambda values, out: np.greater(values, 0, out=out))


def read_grid(path: str | Path) -> Grid:
    """Reads the header alone. Raises InputError as `read` does."""
    path = Path(path)
    with _stream(path) as stream:
        return _grid(path, _header(path, stream))


def _read(path: Path, dtype: DTypeLike, store: Store) -> Volume:
    """Reads a volume; `store(values, out)` puts scaled values into a part of the result."""
    with _stream(path) as stream:
        header = _header(path, stream)
        grid = _grid(path, header)
        stored = int(np.prod(grid.shape, dtype=float)) * header.get_data_dtype().itemsize
        if path.stat().st_size * (MOST_PACKED if _is_packed(path) else 1) < stored:
            raise InputError(
                f"{path}: too small for its shape {grid.shape}, truncated; copy or download it again"
            )
        try:
            data = _voxels(stream, header, np.empty(int(np.prod(grid.shape)), dtype), store)
        except UNREADABLE as error:
            raise _cut_short(path, error) from None
        except MemoryError:
            raise InputError(
                f"{path}: shape {grid.shape} does not fit into memory; check the file's header"
            ) from None
    return Volume(data.reshape(grid.shape, order="F"), grid)


def _voxels(stream: BinaryIO, header: nib.Nifti1Header, out: np.ndarray, store: Store) -> np.ndarray:
    """Fills `out`, flat, with the scaled voxels in the order of the file."""
    stored = header.get_data_dtype()
    slope, inter = header.get_slope_inter()
    scaled = slope is not None and (slope, inter) != (1.0, 0.0)
    stream.seek(header.get_data_offset())
    if out.dtype == stored and not scaled:
        _fill(stream, out)
    else:
        buffer = np.empty(_PIECE // stored.itemsize, stored)
        # float32 holds what 16 bits do; wider types are scaled in float64, a piece at a time.
        exact = np.result_type(stored, np.float32)
        for start in range(0, len(out), len(buffer)):
            part = out[start : start + len(buffer)]
            values = buffer[: len(part)]
            _fill(stream, values)
            with np.errstate(all="ignore"):  # a file may hold anything
                store(values.astype(exact) * slope + inter if scaled else values, part)
    stream.read(1)  # at the end of the file the checksum is compared
    return out


def _fill(stream: BinaryIO, values: np.ndarray) -> None:
    """Reads the next bytes into an array."""
    left = values.view(np.uint8).data
    while left:
        count = stream.readinto(left[:_PIECE])  # type: ignore[attr-defined] # gzip copies what it is asked for
        if not count:
            raise EOFError(f"{len(left)} bytes of voxels are missing")
        left = left[count:]


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


@contextmanager
def _stream(path: Path) -> Iterator[BinaryIO]:
    """The decompressed content of a file that is opened once."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    with ExitStack() as stack:
        try:
            stream: BinaryIO = stack.enter_context(path.open("rb"))
            if stream.read(10).startswith(ENCRYPTED):
                raise InputError(f"{path}: still encrypted; {DECRYPT}")
            stream.seek(0)
        except OSError as error:
            raise _no_nifti(path, error) from None
        if _is_packed(path):
            stream = stack.enter_context(_GZIP.open(stream, "rb"))
        yield stream


def _header(path: Path, stream: BinaryIO) -> nib.Nifti1Header:
    """The header of NIfTI 1 or 2; its extensions, which may be of any size, are not read."""
    short = None
    try:
        head = stream.read(nib.Nifti2Header.sizeof_hdr)
        for kind in (nib.Nifti1Header, nib.Nifti2Header):
            if path.name.lower().endswith((".nii", ".nii.gz")) and kind.may_contain_header(head):
                return kind(head[: kind.sizeof_hdr])
    except EOFError as error:
        short = _cut_short(path, error)  # unless what there is of it is no NIfTI
    except UNREADABLE as error:
        raise _no_nifti(path, error) from None
    try:
        image = nib.load(path)  # knows other formats, and says what is wrong with a file of none
    except UNREADABLE as error:
        raise _no_nifti(path, error) from None
    raise short or InputError(f"{path}: not NIfTI but {type(image).__name__}; convert it to .nii.gz")


def _cut_short(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: cannot be read to its end ({error}); copy or download it again")


def _no_nifti(path: Path, error: Exception) -> InputError:
    reason = str(error).replace("\n", " ")
    return InputError(f"{path}: not a readable NIfTI file ({reason}); copy or download it again")


def _grid(path: Path, header: nib.Nifti1Header) -> Grid:
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused below
            shape, affine, found = header.get_data_shape(), header.get_best_affine(), header.get_data_dtype()
    except UNREADABLE as error:
        raise _no_nifti(path, error) from None
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"{path}: expected a 3-D volume, found {shape}; give one volume per file")
    if found.kind not in "iuf":
        raise InputError(f"{path}: expected numbers as voxels, found {found}; convert it to float32")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-9:
        raise InputError(f"{path}: its affine is not usable (zero or not finite); mend sform or qform")
    return Grid.of(shape, affine)


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
    image = _image(volume) if like is None else _image_like(volume, like)
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


def _image_like(volume: Volume, like: Path) -> nib.Nifti1Image:
    # Only the geometry: free text and extensions of a scan's header can name the person.
    with _stream(like) as stream:
        model = _header(like, stream)
    header = type(model)()
    for field in _GEOMETRY:
        header[field] = model[field]
    header["pixdim"][:4] = model["pixdim"][:4]
    header.set_data_dtype(volume.data.dtype)
    header.set_data_shape(volume.data.shape)
    kind = nib.Nifti2Image if isinstance(model, nib.Nifti2Header) else nib.Nifti1Image
    return kind(volume.data, model.get_best_affine(), header)
