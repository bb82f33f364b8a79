"""NIfTI: what is readable is read exactly, what is not is said in one line; files are written whole."""

import gzip
import shutil
import struct
import subprocess
import sys
import tracemalloc
import zlib
from contextlib import suppress
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lesions import nifti
from lesions.errors import InputError
from lesions.grid import Grid, Volume

SHAPE = (4, 5, 6)
MATRIX = np.array([[2.0, 0, 0, -7], [0, 2.5, 0, 8], [0, 0, 3, -9], [0, 0, 0, 1]])


@pytest.fixture(params=["isal", "standard library"])
def library(request, monkeypatch):
    """Both ways to decompress: errors and results must not depend on which is installed."""
    if request.param != "isal":
        monkeypatch.setattr(nifti, "_GZIP", gzip)


@pytest.fixture
def data():
    return np.random.default_rng(0).integers(-300, 900, SHAPE).astype(np.int16)


def save(path, data, matrix=MATRIX, kind=nib.Nifti1Image):
    nib.save(kind(data, matrix), path)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("version", [nib.Nifti1Image, nib.Nifti2Image])
def test_what_is_stored_is_read(tmp_path, data, name, kind, version, library):
    data = np.abs(data // 4).astype(kind)
    volume = nifti.read(save(tmp_path / name, data, kind=version))
    assert volume.data.dtype == np.float32
    np.testing.assert_array_equal(volume.data, data)
    np.testing.assert_array_equal(volume.grid.matrix, MATRIX)
    assert nifti.read_grid(tmp_path / name) == volume.grid


def test_slope_and_intercept_are_applied(tmp_path, data):
    image = nib.Nifti1Image(data, MATRIX)
    image.header.set_slope_inter(0.5, 10)
    nib.save(image, tmp_path / "a.nii.gz")
    volume = nifti.read(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(volume.data, np.asanyarray(nib.load(tmp_path / "a.nii.gz").dataobj), rtol=1e-6)
    assert volume.data.dtype == np.float32


@pytest.mark.parametrize("kind", [">i2", ">f4", "<i4", "<i8", "<f8", "<u2"])
@pytest.mark.parametrize("scaling", [(None, None), (1.0, 0.0), (0.01, -3.5)])
def test_every_type_of_voxel_is_scaled_as_nibabel_does(tmp_path, data, kind, scaling):
    path = tmp_path / "a.nii.gz"
    image = nib.Nifti1Image(np.abs(data).astype(kind), MATRIX, dtype=np.dtype(kind))
    image.header.set_slope_inter(*scaling)
    nib.save(image, path)
    np.testing.assert_allclose(
        nifti.read(path).data, np.asarray(nib.load(path).dataobj), rtol=3e-7, atol=1e-5
    )


def test_wide_whole_numbers_keep_their_differences(tmp_path):
    """Around 2^30 float32 counts in steps of 64; what is left after the intercept must not."""
    data = (2**30 + np.arange(120, dtype=np.int32)).reshape(SHAPE)
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int32)
    header.set_data_shape(SHAPE)
    header.set_slope_inter(1.0, -float(2**30))
    header.set_sform(MATRIX, 1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    (tmp_path / "a.nii").write_bytes(header.binaryblock + bytes(4) + data.tobytes(order="F"))
    np.testing.assert_array_equal(nifti.read(tmp_path / "a.nii").data.ravel(), np.arange(120))


@pytest.mark.parametrize("scale", [1.0, 0.25, -2.0])
def test_a_mask_is_what_lies_above_zero_after_scaling(tmp_path, scale):
    values = np.random.default_rng(0).integers(-2, 3, SHAPE).astype(np.int16)
    image = nib.Nifti1Image(values, MATRIX)
    image.header.set_slope_inter(scale, 0)
    nib.save(image, tmp_path / "a.nii.gz")
    mask = nifti.read_mask(tmp_path / "a.nii.gz")
    assert mask.data.dtype == np.bool_
    np.testing.assert_array_equal(mask.data, nifti.read(tmp_path / "a.nii.gz").data > 0)
    assert 0 < mask.data.sum() < mask.data.size


@pytest.mark.parametrize("kind", [np.float32, np.int16, np.float64, np.dtype(">i4")])
@pytest.mark.parametrize("slope", [1.0, 0.5])
def test_no_copy_of_the_volume_is_made(tmp_path, kind, slope):
    image = nib.Nifti1Image(np.ones((160, 160, 120)).astype(kind), MATRIX, dtype=np.dtype(kind))
    image.header.set_slope_inter(slope, 0)
    nib.save(image, tmp_path / "a.nii.gz")
    for reader, size in ((nifti.read, 4), (nifti.read_mask, 1)):
        tracemalloc.start()
        try:
            volume = reader(tmp_path / "a.nii.gz")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert volume.data.itemsize == size
        assert peak < volume.data.nbytes + 3 * 2**20, "more than the result and a piece"


def test_one_frame_is_a_volume_and_several_are_not(tmp_path, data):
    path = save(tmp_path / "a.nii", data[..., None])
    assert nifti.read(path).data.shape == SHAPE
    assert nifti.read_grid(path).shape == SHAPE
    for shape in ((4, 5), (4, 5, 6, 2), (4, 5, 6, 1, 1)):
        path = save(tmp_path / "b.nii", np.zeros(shape, np.int16))
        for reader in (nifti.read, nifti.read_grid):
            with pytest.raises(InputError, match="one volume per file"):
                reader(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_truncated_files(tmp_path, name, share, library):
    path = save(tmp_path / name, np.random.default_rng(0).random((20, 20, 20)))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match="copy or download") as told:
        nifti.read(path)
    assert "\n" not in str(told.value)
    assert str(told.value).startswith(str(path))


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9, -8, -6])
def test_damaged_files(tmp_path, place, library):
    """A flipped bit anywhere in the data or in the checksum: gzip's own reader would often not notice."""
    path = save(
        tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 99, (20, 20, 20)).astype(np.int16)
    )
    raw = bytearray(path.read_bytes())
    raw[place if isinstance(place, int) else int(len(raw) * place)] ^= 16
    path.write_bytes(raw)
    with pytest.raises(InputError, match="copy or download") as told:
        nifti.read(path)
    assert "\n" not in str(told.value)


def test_without_isal_the_standard_library_reads(tmp_path, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "isal", None)  # makes its import fail
    assert nifti._fastest() == (gzip, zlib)
    monkeypatch.undo()
    assert nifti._fastest()[0].__name__ == "isal.igzip"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", b"\x1f\x8b\x08 broken", b"no image" * 100])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_files_that_are_no_nifti(tmp_path, name, content, library):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="not a readable NIfTI"):
        nifti.read(tmp_path / name)


@pytest.mark.heavy
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
@pytest.mark.parametrize("form", [["-a"], []], ids=["base64, as ATLAS comes", "bytes"])
def test_what_openssl_encrypted_is_named_as_such(tmp_path, data, form):
    plain, secret = tmp_path / "plain.nii.gz", tmp_path / "a.nii.gz"
    save(plain, data)
    command = [
        "openssl",
        "aes-256-cbc",
        "-md",
        "sha256",
        *form,
        "-pass",
        "pass:x",
        "-in",
        plain,
        "-out",
        secret,
    ]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    with pytest.raises(InputError, match="still encrypted; decrypt it first"):
        nifti.read(secret)


def test_missing_folder_and_another_format(tmp_path, data):
    with pytest.raises(InputError, match="no such file"):
        nifti.read(tmp_path / "b.nii.gz")
    with pytest.raises(InputError, match="no such file"):
        nifti.read(tmp_path)
    save(tmp_path / "c.mgz", data, kind=nib.MGHImage)
    with pytest.raises(InputError, match=r"convert it to \.nii\.gz"):
        nifti.read(tmp_path / "c.mgz")


def test_voxels_that_are_no_numbers(tmp_path):
    colors = np.zeros((2, 2, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(InputError, match="expected numbers"):
        nifti.read(save(tmp_path / "rgb.nii", colors))
    with pytest.raises(InputError, match="expected numbers"):
        nifti.read(save(tmp_path / "complex.nii", np.zeros((2, 2, 2), np.complex64)))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_affine_that_is_none(tmp_path, data, value):
    image = nib.Nifti1Image(data, MATRIX)
    for row in "xyz":
        image.header[f"srow_{row}"] = value
    image.header["sform_code"] = 1
    raw = image.header.binaryblock + bytes(4) + data.tobytes(order="F")
    (tmp_path / "a.nii").write_bytes(
        raw[:108] + np.float32(352).tobytes() + raw[112:344] + b"n+1\0" + raw[348:]
    )
    with pytest.raises(InputError, match="affine"):
        nifti.read(tmp_path / "a.nii")


def test_header_that_claims_terabytes_is_refused_before_reading(tmp_path):
    """61 bytes must not make 13 GB of memory (docs/spec/tensorflow_serving.md#headers-that-lie)."""
    header = nib.Nifti1Header()
    header.set_data_shape((1500, 1500, 1500))
    header.set_data_dtype(np.float32)
    header["magic"], header["vox_offset"] = b"n+1", 352
    raw = header.binaryblock + bytes(4)
    (tmp_path / "a.nii").write_bytes(raw)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(raw))
    for name in ("a.nii", "a.nii.gz"):
        with pytest.raises(InputError, match="too small for its shape"):
            nifti.read(tmp_path / name)


def peak_of_reading(path):
    tracemalloc.start()
    try:
        with suppress(InputError):
            nifti.read(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_bomb_costs_what_its_header_says_at_most(tmp_path, library):
    """60 MB of zeros behind the voxels, and 60 MB that call themselves an extension of the header."""
    behind, inside = tmp_path / "behind.nii.gz", tmp_path / "inside.nii.gz"
    raw = _plain(tmp_path / "a.nii")
    behind.write_bytes(gzip.compress(raw + bytes(60_000_000), 1))
    assert nifti.read(behind).data.sum() == np.arange(120).sum()
    extension = struct.pack("<4sii", b"\1\0\0\0", 60_000_000, 4)
    offset = np.float32(352 + 60_000_000).tobytes()
    head = raw[:108] + offset + raw[112:348] + extension
    inside.write_bytes(gzip.compress(head + bytes(60_000_000 - 8) + raw[352:], 1))
    assert nifti.read(inside).data.sum() == np.arange(120).sum()
    assert max(peak_of_reading(behind), peak_of_reading(inside)) < 8 * 2**20


@pytest.mark.heavy
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 347), st.integers(0, 255)), min_size=1, max_size=4))
def test_mutated_headers_give_a_volume_or_one_line(tmp_path, capfd, changes):
    path = tmp_path / "m.nii"
    raw = bytearray(_plain(path))
    for place, value in changes:
        raw[place] = value
    path.write_bytes(raw)
    with suppress(InputError):
        assert nifti.read(path).data.ndim == 3
    assert capfd.readouterr() == ("", "")


def test_voxel_type_that_nibabel_does_not_know(tmp_path, monkeypatch):
    """Its own check of headers misses some, and its tables answer with KeyError."""

    def unknown(header):
        raise KeyError(999)

    _plain(tmp_path / "m.nii")
    monkeypatch.setattr(nib.Nifti1Header, "get_data_dtype", unknown)
    with pytest.raises(InputError, match="not a readable NIfTI file"):
        nifti.read(tmp_path / "m.nii")


def _plain(path):
    image = nib.Nifti1Image(np.arange(120, dtype=np.int16).reshape(SHAPE), MATRIX)
    nib.save(image, path)
    return path.read_bytes()


def test_every_order_of_axes_becomes_ras_and_returns():
    data = np.arange(120, dtype=np.float32).reshape(SHAPE)
    upright = Volume(data, Grid.of(SHAPE, MATRIX))
    for order, flips in product(permutations(range(3)), product((1, -1), repeat=3)):
        target = np.zeros((4, 4))
        for column, (axis, flip) in enumerate(zip(order, flips, strict=True)):
            target[axis, column] = flip
        turned = nifti.oriented_like(upright, target)
        assert turned.grid.shape == tuple(SHAPE[axis] for axis in order)
        assert (np.sign(turned.grid.matrix[:3, :3]) == target[:3, :3]).all()
        voxel = [1, 2, 3]
        place = turned.grid.matrix @ [*voxel, 1]
        there = np.linalg.inv(MATRIX) @ place
        assert turned.data[tuple(voxel)] == data[tuple(np.rint(there[:3]).astype(int))]
        back = nifti.canonical(turned)
        np.testing.assert_array_equal(back.data, data)
        assert back.grid.same_as(upright.grid, 1e-9)


def test_canonical_agrees_with_nibabel(data):
    matrix = nib.affines.from_matvec(
        nib.eulerangles.euler2mat(0.2, 0.3, 1.9) @ np.diag([2, -2.5, 3]), [3, 4, 5]
    )
    ours = nifti.canonical(Volume(data, Grid.of(SHAPE, matrix)))
    theirs = nib.as_closest_canonical(nib.Nifti1Image(data, matrix))
    np.testing.assert_array_equal(ours.data, theirs.dataobj)
    np.testing.assert_allclose(ours.grid.matrix, theirs.affine)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_written_in_mni_space_and_read_again(tmp_path, data, kind):
    volume = Volume(np.abs(data // 4).astype(kind), Grid.of(SHAPE, MATRIX))
    nifti.write(tmp_path / "new/folder/a.nii.gz", volume, intent="x" * 100)
    image = nib.load(tmp_path / "new/folder/a.nii.gz")
    assert image.get_data_dtype() == kind
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (4, 4)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.header["descrip"] == b"x" * 80 or len(image.header["descrip"].item()) <= 80
    np.testing.assert_array_equal(nifti.read(tmp_path / "new/folder/a.nii.gz").data, volume.data)


@pytest.mark.parametrize("codes", [(0, 1), (1, 0), (2, 1), (0, 0), (4, 4)])
def test_written_like_another_file(tmp_path, data, codes):
    image = nib.Nifti1Image(data, None)
    image.set_sform(MATRIX, codes[0])
    image.set_qform(MATRIX @ nib.affines.from_matvec(np.eye(3), [0.125, 0, 0]), codes[1])
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"Jane Doe"
    nib.save(image, tmp_path / "scan.nii.gz")
    original = nib.load(tmp_path / "scan.nii.gz")
    volume = nifti.read(tmp_path / "scan.nii.gz")
    mask = Volume((volume.data > 0).astype(np.uint8), volume.grid)
    nifti.write(tmp_path / "mask.nii.gz", mask, like=tmp_path / "scan.nii.gz")
    written = nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(written.affine, original.affine)
    for field in nifti._GEOMETRY:
        np.testing.assert_array_equal(written.header[field], original.header[field])
    np.testing.assert_array_equal(written.header["pixdim"][:4], original.header["pixdim"][:4])
    np.testing.assert_array_equal(written.dataobj, mask.data)
    assert b"Jane" not in written.header.binaryblock


def test_nothing_half_written(tmp_path, data, monkeypatch):
    volume = Volume(data, Grid.of(SHAPE, MATRIX))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        nifti.write(tmp_path / "file/a.nii", volume)
    nifti.write(tmp_path / "a.nii", volume)
    before = (tmp_path / "a.nii").read_bytes()

    def full(image, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib, "save", full)
    with pytest.raises(InputError, match="No space left"):
        nifti.write(tmp_path / "a.nii", Volume(data + 1, volume.grid))
    assert (tmp_path / "a.nii").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii", "file"]
