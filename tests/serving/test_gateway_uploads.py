"""What the gateway takes: NIfTI of every make; what it refuses: files that lie, are too large, or do not come."""

import asyncio
import gzip
import struct

import nibabel as nib
import numpy as np
import pytest

from serving.gateway import upload, workplace
from serving.gateway.scan import Limits
from tests.serving.conftest import ASYMMETRIC, Spy
from tests.serving.gateway_tools import InProcessModels, error_of, image_of, nifti_bytes, running, until


def header(data, changes=(), packed=True, kind=nib.Nifti1Image):
    """A scan whose header has been changed afterward: (offset, format, value)."""
    raw = bytearray(nifti_bytes(data, ASYMMETRIC.matrix, packed=False, kind=kind))
    for offset, form, value in changes:
        struct.pack_into(form, raw, offset, value)
    return nifti_bytes_packed(bytes(raw)) if packed else bytes(raw)


def nifti_bytes_packed(raw):
    return gzip.compress(raw, 1)


LIES = {
    "sizeof_hdr": ([(0, "<i", 349)], 400, "no NIfTI"),
    "magic of a pair": ([(344, "4s", b"ni1\0")], 400, "magic"),
    "no dimensions": ([(40, "<h", 0)], 400, "damaged"),
    "eight dimensions": ([(40, "<h", 8)], 400, "damaged"),
    "two dimensions": ([(40, "<h", 2)], 422, "one 3-D volume"),
    "a series": ([(40, "<h", 4), (48, "<h", 3)], 422, "one 3-D volume, found 12 x 14 x 10 x 3"),
    "a negative size": ([(42, "<h", -12)], 400, "damaged"),
    "a size of zero": ([(44, "<h", 0)], 400, "damaged"),
    "larger than it is": ([(42, "<h", 120)], 400, "too few"),
    "huge": ([(42, "<h", 1500), (44, "<h", 1500), (46, "<h", 1500)], 413, "1500 x 1500 x 1500 voxels"),
    "too long": ([(42, "<h", 30000)], 413, "along an axis"),
    "complex": ([(70, "<h", 32), (72, "<h", 64)], 422, "Data type 32"),
    "colors": ([(70, "<h", 128), (72, "<h", 24)], 422, "Data type 128"),
    "bitpix": ([(72, "<h", 8)], 400, "bitpix is 8"),
    "vox_offset NaN": ([(108, "<f", float("nan"))], 400, "vox_offset is nan"),
    "vox_offset within the header": ([(108, "<f", 0.0)], 400, "vox_offset is 0"),
    "vox_offset negative": ([(108, "<f", -352.0)], 400, "vox_offset is -352"),
    "vox_offset far away": ([(108, "<f", 1e30)], 413, "vox_offset"),
    "slope NaN": ([(112, "<f", float("nan"))], 422, "scl_slope nan"),
    "slope infinite": ([(112, "<f", float("inf"))], 422, "scl_slope inf"),
    "intercept NaN": ([(112, "<f", 1.0), (116, "<f", float("nan"))], 422, "scl_inter nan"),
    "pixdim NaN": ([(80, "<f", float("nan"))], 422, "pixdim"),
    "affine NaN": ([(280, "<f", float("nan"))], 422, "affine"),
    "voxels of a micrometer": ([(280, "<f", 1e-6)], 422, "Voxels of 1e-06"),
    "voxels of a meter": ([(280, "<f", 1000.0)], 422, "Voxels of 1000"),
    "far from here": ([(292, "<f", 1e9)], 422, "beyond 100000 mm"),
    "axes that are nearly parallel": (
        [(284, "<f", 3.0), (300, "<f", 0.01)],
        422,
        "parallel",
    ),
    "affine zero": ([(280 + 4 * k, "<f", 0.0) for k in range(12)], 422, "affine"),
}


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("packed", [True, False])
def test_headers_that_lie(ask, scan_data, name, packed):
    changes, status, error = LIES[name]
    answer = ask("POST", "/segment", content=header(scan_data(), changes, packed))
    assert error in error_of(answer, status)


def test_a_scan_that_is_longer_than_a_person(ask):
    long = nifti_bytes(np.ones((2, 2, 300), np.float32), np.diag([3.0, 3, 20, 1]))
    assert "A scan of 6000 mm" in error_of(ask("POST", "/jobs", content=long), 422)


def test_nifti_2_and_the_other_byte_order(ask, scan_data):
    expected = ask("POST", "/segment", content=nifti_bytes(scan_data(), ASYMMETRIC.matrix)).content
    two = nifti_bytes(scan_data(), ASYMMETRIC.matrix, kind=nib.Nifti2Image)
    answer = ask("POST", "/segment", content=two)
    image = nib.Nifti2Image.from_bytes(gzip.decompress(answer.content))
    np.testing.assert_array_equal(image.get_fdata(), image_of(expected).get_fdata())
    turned = nib.Nifti1Image(scan_data(), ASYMMETRIC.matrix, nib.Nifti1Header(endianness=">"))
    turned.header.set_data_dtype(np.dtype(">f4"))
    answer = ask("POST", "/segment", content=nifti_bytes_packed(turned.to_bytes()))
    np.testing.assert_array_equal(image_of(answer.content).get_fdata(), image_of(expected).get_fdata())
    lie = header(scan_data(), [(168, "<q", 1 << 62)], kind=nib.Nifti2Image)
    assert "vox_offset" in error_of(ask("POST", "/segment", content=lie), 413)
    lie = header(scan_data(), [(24, "<q", 1 << 62)], kind=nib.Nifti2Image)
    assert "along an axis" in error_of(ask("POST", "/segment", content=lie), 413)


@pytest.mark.parametrize(
    ("content", "status", "error"),
    [
        (b"", 400, "empty"),
        (b"\0", 400, "no NIfTI"),
        (b"\x1f\x8b", 400, "cut short"),
        (b"\x1f\x8b\x08\0junk", 400, "gzip data"),
        (b"PK\x03\x04" + bytes(600), 400, "no NIfTI"),
        (b"Salted__" + bytes(600), 400, "encrypted"),
        (struct.pack("<i", 348), 400, "within its header"),
        (bytes(1000), 400, "no NIfTI"),
    ],
)
def test_what_is_no_scan(ask, content, status, error):
    assert error in error_of(ask("POST", "/segment", content=content), status)
    assert error in error_of(ask("POST", "/jobs", content=content), status)


def test_files_that_are_not_whole(ask, body, scan_data):
    plain = nifti_bytes(scan_data(), ASYMMETRIC.matrix, packed=False)
    damaged = bytearray(body)
    damaged[-6] ^= 1  # the checksum
    for content, error in (
        (body[:-20], "cut short"),
        (plain[:-4], "too few"),
        (plain + bytes(2 << 20), "goes on behind"),
        (nifti_bytes_packed(plain + bytes(2 << 20)), "goes on behind"),
        (nifti_bytes_packed(plain + bytes(8 << 20))[:-8], "goes on behind"),  # not unpacked to its broken end
        (bytes(damaged), "gzip data are damaged"),
        (body + b"tail", "gzip data are damaged"),
        (nifti_bytes_packed(plain[:200]), "within its header"),
        (nifti_bytes_packed(b"x")[:15] * 100, "damaged"),
    ):
        assert error in error_of(ask("POST", "/segment", content=content), 400)
    whole = ask("POST", "/segment", content=body).content
    parts = nifti_bytes_packed(plain[:500]) + nifti_bytes_packed(plain[500:]) + bytes(512)
    for content in (plain, plain + bytes(100), parts):
        assert ask("POST", "/segment", content=content).content == whole


def test_the_headers_geometry_is_kept_and_its_free_text_is_not(ask, scan_data):
    image = nib.Nifti1Image(scan_data(), ASYMMETRIC.matrix)
    image.set_sform(ASYMMETRIC.matrix, 2)
    image.set_qform(np.diag([3.0, 3, 3, 1]), 1)
    image.header.set_xyzt_units("mm", "msec")
    for field in ("descrip", "aux_file", "db_name", "intent_name"):
        image.header[field] = b"Jane Doe"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    for output in ("mask", "probability"):
        answer = ask("POST", f"/segment?output={output}", content=gzip.compress(image.to_bytes()))
        found = image_of(answer.content)
        for field in ("sform_code", "qform_code", "srow_x", "qoffset_x", "xyzt_units", "pixdim"):
            np.testing.assert_array_equal(found.header[field], image.header[field])
        assert b"Jane" not in gzip.decompress(answer.content)


@pytest.mark.parametrize("scale", [1e-36, 1e-12, 1.0, -1.0, 1e8, 1e12, 1e34])
def test_intensities_of_any_size(ask, scan_data, scale):
    body = nifti_bytes(scan_data() * np.float32(scale), ASYMMETRIC.matrix)
    answer = ask("POST", "/segment?output=summary", content=body)
    if scale > 1e9:
        assert "intensities go up to" in error_of(answer, 422)
    else:
        numbers = answer.json()["mni_check"]
        assert np.isfinite([numbers["similarity"], numbers["offset_mm"]]).all()


def test_voxels_that_are_no_numbers(ask, scan_data):
    data = scan_data()
    data[3, 4, 5] = np.nan
    message = error_of(ask("POST", "/segment", content=nifti_bytes(data, ASYMMETRIC.matrix)), 422)
    assert "1 of 1680 voxels are not finite" in message


def test_limits(ask, scan_data):
    plain = nifti_bytes(scan_data(), ASYMMETRIC.matrix, packed=False)
    small = {"limits": Limits(upload=4000)}
    assert "more than the 4000 bytes" in error_of(ask("POST", "/segment", settings=small, content=plain), 413)
    form = {"files": {"file": plain + bytes(1 << 17)}}
    assert "more than the 4000 bytes" in error_of(ask("POST", "/segment", settings=small, **form), 413)

    async def endless():
        while True:
            yield bytes(1000)

    for headers in ({}, {"Content-Length": "10"}):
        answer = ask("POST", "/segment", settings=small, content=endless(), headers=headers)
        assert "more than the 4000 bytes" in error_of(answer, 413)
    for size in ("99999999999999999999", "5000000"):
        answer = ask("POST", "/segment", settings=small, content=endless(), headers={"Content-Length": size})
        assert error_of(answer, 413)
    few = {"limits": Limits(voxels=1679)}
    assert "12 x 14 x 10 voxels are more" in error_of(
        ask("POST", "/segment", settings=few, content=plain), 413
    )


def test_only_so_many_bodies_come_at_a_time(tmp_path, body, monkeypatch):
    monkeypatch.setattr(workplace, "MOST_UPLOADS", 1)

    async def work():
        go = asyncio.Event()

        async def slow():
            yield body[:10]
            await go.wait()
            yield body[10:]

        async with running(InProcessModels(Spy()), tmp_path) as (_, client):
            first = asyncio.create_task(client.post("/segment", content=slow()))
            await until(lambda: list((tmp_path / "work").rglob("upload")))
            for path in ("/segment", "/jobs"):
                refused = await client.post(path, content=body)
                assert "being sent already" in error_of(refused, 429)
            go.set()
            assert (await first).status_code == 200
            assert (await client.post("/segment", content=body)).status_code == 200

    asyncio.run(work())


def test_a_body_that_does_not_come(ask, monkeypatch):
    monkeypatch.setattr(upload, "PATIENCE", 0.2)

    async def slow():
        yield b"x"
        await asyncio.sleep(20)
        yield b"y"

    assert "too slowly: 1 bytes" in error_of(ask("POST", "/segment", content=slow()), 408)
