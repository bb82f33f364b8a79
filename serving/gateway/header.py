"""Looks at an upload's NIfTI header before anything else does: headers lie, and a lie must not cost memory.

The bytes are read here by hand (docs/spec/tensorflow_serving.md#headers-that-lie); what passes is what
`lesions.nifti` can read.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from serving.gateway.refusal import Refusal

LONGEST = 540  # bytes of a NIfTI-2 header
MOST_EXTENSION = 16 << 20  # bytes between header and voxels
MOST_ALONG = 4096  # voxels along an axis
# Code of the data type: bits of a voxel. Colors and complex numbers are no scans; float128 is not the same anywhere.
BITS = {
    **{2: 8, 256: 8},
    **{4: 16, 512: 16},
    **{8: 32, 768: 32, 16: 32},
    **{64: 64, 1024: 64, 1280: 64},
}


@dataclass(frozen=True)
class _Layout:
    """Where a version of NIfTI has what, and in which form."""

    size: int
    magic: tuple[int, bytes]
    dims: tuple[int, str]
    datatype: int
    bitpix: int
    pixdim: tuple[int, str]
    offset: tuple[int, str]
    scaling: tuple[int, str]


LAYOUTS = {
    348: _Layout(348, (344, b"n+1\0"), (40, "8h"), 70, 72, (76, "8f"), (108, "f"), (112, "2f")),
    540: _Layout(
        540, (4, b"n+2\0\r\n\x1a\n"), (16, "8q"), 12, 14, (104, "8d"), (168, "q"), (176, "2d")
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What a header says of the file.

    Attributes:
        shape: Voxels along the three axes.
        size: Bytes of the whole file, unpacked: header, extensions and voxels.
    """

    shape: tuple[int, int, int]
    size: int


def read(head: bytes, most_voxels: int) -> Header:
    """Judges the first bytes of an unpacked file.

    Args:
        head: At least `LONGEST` bytes, or the whole file where it is shorter.
        most_voxels: Of a scan that is taken.

    Raises:
        Refusal: 400, it is no NIfTI or damaged; 413, it is too large; 422, it is no scan that can be used.
    """
    layout, order = _layout(head)
    dims = _unpack(head, order, layout.dims)
    shape = _shape(dims)
    code, bits = (_unpack(head, order, (place, "h"))[0] for place in (layout.datatype, layout.bitpix))
    if code not in BITS:
        raise Refusal(422, f"Data type {code} is none of integers and floats; convert the scan to float32")
    if bits != BITS[code]:
        raise Refusal(400, f"bitpix is {bits} where data type {code} has {BITS[code]} bits: a damaged header")
    if math.prod(shape) > most_voxels:
        raise Refusal(
            413, f"{' x '.join(map(str, shape))} voxels are more than the {most_voxels} that are taken"
        )
    offset = _offset(_unpack(head, order, layout.offset)[0], layout)
    _check_numbers(_unpack(head, order, layout.scaling), _unpack(head, order, layout.pixdim)[1:4])
    return Header(shape, offset + math.prod(shape) * bits // 8)


def _layout(head: bytes) -> tuple[_Layout, str]:
    for order in "<>":
        layout = LAYOUTS.get(struct.unpack_from(order + "i", head)[0]) if len(head) >= 4 else None
        if layout:
            place, magic = layout.magic
            if len(head) < layout.size:
                raise Refusal(400, f"The file ends after {len(head)} bytes, within its header; send it again")
            if head[place : place + len(magic)] == magic:
                return layout, order
            raise Refusal(400, "No single-file NIfTI (its magic is missing); convert the scan to .nii.gz")
    raise Refusal(400, "This is no NIfTI file; send the scan as .nii or .nii.gz")


def _unpack(head: bytes, order: str, where: tuple[int, str]) -> tuple:
    return struct.unpack_from(order + where[1], head, where[0])


def _shape(dims: tuple[int, ...]) -> tuple[int, int, int]:
    count, sizes = dims[0], dims[1:]
    if not 1 <= count <= 7:
        raise Refusal(400, f"The header says {count} dimensions: a damaged header")
    if count < 3 or any(size != 1 for size in sizes[3:count]):
        said = " x ".join(map(str, sizes[:count]))
        raise Refusal(422, f"Expected one 3-D volume, found {said}; send one volume per file")
    x, y, z = sizes[:3]
    if min(x, y, z) < 1:
        raise Refusal(400, f"Sizes {x} x {y} x {z}: a damaged header")
    if max(x, y, z) > MOST_ALONG:
        raise Refusal(413, f"Sizes {x} x {y} x {z}: at most {MOST_ALONG} voxels along an axis are taken")
    return x, y, z


def _offset(offset: float, layout: _Layout) -> int:
    if not math.isfinite(offset) or offset != int(offset) or offset < layout.size + 4:
        raise Refusal(400, f"vox_offset is {offset:g}, not a place behind the header: a damaged header")
    if offset > layout.size + MOST_EXTENSION:
        raise Refusal(413, f"vox_offset is {offset:g}: header extensions beyond 16 MiB are not taken")
    return int(offset)


def _check_numbers(scaling: tuple[float, ...], spacing: tuple[float, ...]) -> None:
    if not all(map(math.isfinite, scaling)):
        slope, inter = scaling
        raise Refusal(422, f"scl_slope {slope:g} and scl_inter {inter:g} must be numbers; mend the header")
    if not all(map(math.isfinite, spacing)):
        raise Refusal(422, "The voxels' sizes (pixdim) must be numbers; mend the header")
