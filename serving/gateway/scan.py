"""An uploaded scan on the disk: judged without being believed, then read."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lesions import nifti
from lesions.errors import InputError
from lesions.grid import Volume
from serving.gateway import header
from serving.gateway.refusal import Refusal

GZIP = b"\x1f\x8b"
SLACK = 1 << 20  # bytes behind the voxels that some programs leave there
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
    return path.rename(path.with_name("scan.nii.gz" if packed else "scan.nii"))


def read(path: Path) -> Volume:
    """Reads a judged scan. Raises InputError, without the file's name, which the caller does not know."""
    try:
        return nifti.read(path)
    except InputError as error:
        raise InputError(str(error).replace(f"{path}: ", "").replace(str(path), "the scan")) from None


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
