"""An uploaded scan on the disk: judged without being believed, then read."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesions import nifti
from lesions.errors import InputError
from lesions.grid import Grid, Volume
from serving.gateway import header
from serving.gateway.refusal import Refusal

GZIP = b"\x1f\x8b"
SLACK = 1 << 20  # bytes behind the voxels that some programs leave there
# Of a scan's grid, mm: voxels' edges, its length along an axis, its place; and its voxels' volume against a box's.
EDGES, LARGEST, FARTHEST, FLATTEST = (0.05, 30.0), 700.0, 1e5, 0.1
BRIGHTEST = 1e12
MOST_MEMBERS = 20_000  # gzip files one behind the other; bgzip makes one for 64 KiB
_BLOCK = 1 << 18


@dataclass(frozen=True)
class Limits:
    """What is taken.

    Attributes:
        upload: Bytes of a body.
        voxels: Of a scan.
    """

    upload: int = 128 << 20
    voxels: int = 64 << 20


def judge(path: Path, limits: Limits) -> Path:
    """Looks through an upload, in little memory, and gives it the name that its content demands.

    Returns:
        The file under its name, scan.nii or scan.nii.gz.

    Raises:
        Refusal: See `serving.gateway.header.read`; also a file that is not as long as its header says.
    """
    with path.open("rb") as file:
        begin = file.read(header.LONGEST)
    if not begin:
        raise Refusal(400, "The body is empty; send the scan as .nii or .nii.gz")
    if begin.startswith(nifti.ENCRYPTED):
        raise Refusal(400, f"The file is encrypted; {nifti.DECRYPT}")
    packed = begin.startswith(GZIP)
    if packed:
        _measure(path, limits)
    else:
        _compare(path.stat().st_size, header.read(begin, limits.voxels))
    named = path.rename(path.with_name("scan.nii.gz" if packed else "scan.nii"))
    with _unnamed(named), np.errstate(all="ignore"):
        _require_body(nifti.read_grid(named))
    return named


def read(path: Path) -> Volume:
    """Reads a judged scan. Raises InputError."""
    with _unnamed(path):
        volume = nifti.read(path)
    highest = max(float(volume.data.max()), -float(volume.data.min()))
    if highest > BRIGHTEST:  # squares of such numbers are infinite
        raise InputError(f"intensities go up to {highest:g}, expected {BRIGHTEST:g} at most; mend scl_slope")
    return volume


@contextmanager
def _unnamed(path: Path) -> Iterator[None]:
    """Takes the file's name, which the caller does not know, out of errors."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(f"{path}: ", "").replace(str(path), "the scan")) from None


def _require_body(grid: Grid) -> None:
    """Raises Refusal where no part of a body has such a grid: to reslice a light-year takes memory without end."""
    edges = np.array(grid.spacing)
    if not (edges.min() >= EDGES[0] and edges.max() <= EDGES[1]):
        said = " x ".join(f"{edge:g}" for edge in edges)
        raise Refusal(
            422, f"Voxels of {said} mm: expected edges of {EDGES[0]} to {EDGES[1]} mm; mend the header"
        )
    if not (edges * grid.shape).max() <= LARGEST:
        raise Refusal(
            422, f"A scan of {(edges * grid.shape).max():g} mm: expected {LARGEST:g} at most; mend the header"
        )
    if not np.abs(grid.matrix).max() <= FARTHEST:
        raise Refusal(422, f"The affine goes beyond {FARTHEST:g} mm; mend sform or qform")
    if not grid.voxel_volume >= FLATTEST * edges.prod():
        raise Refusal(422, "The affine's axes are nearly parallel; mend sform or qform")


def _measure(path: Path, limits: Limits) -> None:
    """Unpacks a file and keeps nothing of it; the header, once it is there, says where to stop."""
    size, head, found = 0, b"", None
    try:
        for block in _unpacked(path):
            size += len(block)
            if found is None:
                head += block
                if len(head) < header.LONGEST:
                    continue
                found = header.read(head, limits.voxels)
                if path.stat().st_size * nifti.MOST_PACKED < found.size:
                    raise _short(path.stat().st_size, found, "packed ")
            if size > found.size + SLACK:
                raise _long(found)
    except zlib.error as error:
        raise Refusal(400, f"The gzip data are damaged ({error}); send the file again") from None
    except EOFError as error:
        raise Refusal(400, f"The file is cut short ({error}); send it again") from None
    _compare(size, found or header.read(head, limits.voxels))


def _unpacked(path: Path) -> Iterator[bytes]:
    """The content of a gzip file, member after member, some 256 KiB at a time."""
    with path.open("rb") as file:
        rest, members = file.read(_BLOCK), 0
        while rest:
            members += 1
            if members > MOST_MEMBERS:
                raise EOFError(f"more than {MOST_MEMBERS} parts")
            unpacker = zlib.decompressobj(31)
            while not unpacker.eof:
                rest = rest or file.read(_BLOCK)
                block = unpacker.decompress(rest, _BLOCK)
                if not rest and not block and not unpacker.eof:
                    raise EOFError("it ends within gzip data")
                rest = unpacker.unconsumed_tail
                if block:
                    yield block
            rest = unpacker.unused_data.lstrip(b"\0") or file.read(_BLOCK).lstrip(b"\0")


def _compare(size: int, found: header.Header) -> None:
    if size < found.size:
        raise _short(size, found)
    if size > found.size + SLACK:
        raise _long(found)


def _short(size: int, found: header.Header, packed: str = "") -> Refusal:
    shape = " x ".join(map(str, found.shape))
    return Refusal(
        400,
        f"{size} {packed}bytes are too few for {shape} voxels ({found.size} bytes): the file is truncated, "
        "or its header lies",
    )


def _long(found: header.Header) -> Refusal:
    return Refusal(
        400, f"The file goes on behind the {found.size} bytes that its header announces: a damaged file"
    )
