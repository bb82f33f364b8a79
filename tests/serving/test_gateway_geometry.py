"""Every voxel comes back to its place: models that return their input, a real server, the whole gateway."""

import gzip
import itertools
import os
import shutil
import signal
import threading
import time

import nibabel as nib
import numpy as np
import pytest

from lesions.grid import Grid, template_grid
from lesions.slices import PLANES, slice_shape
from tests.serving.conftest import ASYMMETRIC, make_card
from tests.serving.gateway_tools import image_of, nifti_bytes
from tests.serving.server import Gateway

FULL = 32000.0  # intensity that becomes a probability of 1
KINDS = ("float32", "int16", "scaled", "float64", "uint16", "float32 big-endian")


def save_echo(folder, plane, grid, weight=1.0):
    """A model whose probability is the intensity, divided by FULL: it tells where each voxel came from."""
    import tensorflow as tf

    from trainer import signatures

    shape = slice_shape(grid.shape, plane)

    class Model(tf.Module):
        def __init__(self):
            super().__init__()
            self.scale = tf.Variable(weight / FULL, dtype=tf.float32)

        def serve(self, slices):
            return {"probabilities": slices * self.scale}

        def serve_bytes(self, slices_bytes):
            answer = self.serve(signatures.unpack(slices_bytes, shape))
            return {"probabilities_bytes": signatures.pack(answer["probabilities"])}

    signatures.save(Model(), folder, shape, make_card(plane, grid))
    return folder


def serve(folder, grid):
    for plane in PLANES:
        save_echo(folder / plane / "3", plane, grid)
    return Gateway("--drain", "1", models=folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("echo") / "serving_models"
    one = serve(folder, ASYMMETRIC)
    one.folder = folder
    yield one
    status, errors = one.stop()
    assert status == 0, errors
    assert "Traceback" not in errors


def distinct(shape, seed=0):
    """A volume of integers in random order, the smallest 1; all of them different where there are few."""
    count = int(np.prod(shape))
    values = np.arange(count) % 15000 + 1
    return np.random.default_rng(seed).permutation(values).reshape(shape).astype(np.float32)


def stored(data, matrix, kind):
    """The volume's file, its voxels stored in some way."""
    if kind == "scaled":
        return (
            nifti_bytes(data, matrix, slope=(0.5, 3.0)) if data.max() < 16000 else nifti_bytes(data, matrix)
        )
    if kind == "float32 big-endian":
        image = nib.Nifti1Image(data, matrix, nib.Nifti1Header(endianness=">"))
        return gzip.compress(image.to_bytes(), 1)
    return nifti_bytes(data.astype(kind), matrix)


def turned(data, matrix, order, flips):
    """The same voxels in the same places, stored along other axes."""
    change = np.zeros((4, 4))
    change[3, 3] = 1
    out = np.transpose(data, order)
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        change[old, new] = -1 if flip else 1
        if flip:
            change[old, 3] = data.shape[old] - 1
            out = np.flip(out, new)
    return np.ascontiguousarray(out), matrix @ change


def check(gateway, data, matrix, kind):
    answer = gateway.client.post("/segment?output=probability", content=stored(data, matrix, kind))
    assert answer.status_code == 200, answer.text
    image = image_of(answer.content)
    assert image.shape == data.shape
    np.testing.assert_allclose(image.affine, matrix, atol=1e-4)
    np.testing.assert_allclose(np.asanyarray(image.dataobj), data / FULL, rtol=1e-6)


ORIENTATIONS = [
    (order, flips)
    for order in itertools.permutations(range(3))
    for flips in itertools.product((False, True), repeat=3)
]


QUICK = [
    number for number in range(48) if number % 8 in (2, 5)
]  # two flips of each order, every kind of voxels
SLOW = [pytest.param(number, marks=pytest.mark.slow) for number in range(48) if number not in QUICK]


@pytest.mark.parametrize("number", [*QUICK, *SLOW])
def test_all_48_axis_orders_and_flips(small, number):
    assert len(set(ORIENTATIONS)) == 48
    assert len(set(ASYMMETRIC.shape)) == 3
    data, matrix = turned(distinct(ASYMMETRIC.shape, number), ASYMMETRIC.matrix, *ORIENTATIONS[number])
    check(small, data, matrix, KINDS[number % len(KINDS)])


@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_is_where_the_voxels_are_bright(small, kind):
    data, matrix = turned(distinct(ASYMMETRIC.shape) * 8, ASYMMETRIC.matrix, (2, 0, 1), (True, False, True))
    answer = small.client.post("/segment?threshold=0.25", content=stored(data, matrix, kind))
    np.testing.assert_array_equal(np.asanyarray(image_of(answer.content).dataobj), data / FULL >= 0.25)


def test_two_models_of_the_four_say_which_axis_is_which(small):
    """A coordinate: the volume rises along one axis alone, and so does what comes back, in millimeters."""
    for axis in range(3):
        rising = np.broadcast_to(
            np.arange(1, ASYMMETRIC.shape[axis] + 1, dtype=np.float32).reshape(np.roll((-1, 1, 1), axis)),
            ASYMMETRIC.shape,
        )
        fine = Grid.of((23, 27, 19), ASYMMETRIC.matrix @ np.diag([0.5, 0.5, 0.5, 1.0]))
        places = np.moveaxis(np.indices(fine.shape), 0, -1)[..., axis] / 2 + 1
        answer = small.client.post(
            "/segment?output=probability", content=nifti_bytes(places.astype(np.float32), fine.matrix)
        )
        back = np.asanyarray(image_of(answer.content).dataobj) * FULL
        inside = np.s_[4:-4, 4:-4, 4:-4]
        np.testing.assert_allclose(back[inside], places[inside], atol=0.1)
        assert rising.max() == ASYMMETRIC.shape[axis]


def test_the_other_way_of_flip_averaging_is_mirrored_back(small):
    data, matrix = turned(distinct(ASYMMETRIC.shape), ASYMMETRIC.matrix, (1, 2, 0), (False, True, True))
    answer = small.client.post("/segment?output=probability&flip=true", content=nifti_bytes(data, matrix))
    np.testing.assert_allclose(np.asanyarray(image_of(answer.content).dataobj), data / FULL, rtol=1e-6)


def until(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
    return found


def test_a_version_that_is_pushed_is_used_as_a_whole(small):
    data = distinct(ASYMMETRIC.shape)
    content = nifti_bytes(data, ASYMMETRIC.matrix)
    for plane in PLANES:
        save_echo(small.folder / f".staged-{plane}", plane, ASYMMETRIC, weight=0.5)
    for plane in PLANES:
        (small.folder / f".staged-{plane}").rename(small.folder / plane / "4")
    factors = {3: 1.0, 4: 0.5}

    def ask():
        answer = small.client.post("/segment?output=probability", content=content)
        versions = [int(one.split("=")[1]) for one in answer.headers["x-model-versions"].split(",")]
        expected = data / FULL * np.mean([factors[version] for version in versions])
        np.testing.assert_allclose(np.asanyarray(image_of(answer.content).dataobj), expected, rtol=1e-6)
        return versions == [4, 4, 4]

    try:
        until(ask)
    finally:
        for plane in PLANES:
            shutil.rmtree(small.folder / plane / "4", ignore_errors=True)
        until(lambda: set(small.client.get("/readyz").json().get("versions", {}).values()) == {"3"})


@pytest.mark.parametrize("way", ["sync", pytest.param("job", marks=pytest.mark.slow)])
def test_the_process_with_the_models_is_killed_in_mid_volume(small, way):
    """The volume is right all the same, or is told to come again: never a wrong one."""
    data = distinct(ASYMMETRIC.shape)
    content = nifti_bytes(data, ASYMMETRIC.matrix)
    killed = small.worker()
    answers = []

    def ask():
        if way == "sync":
            answers.append(small.client.post("/segment?output=probability", content=content))
            return
        place = small.client.post("/jobs", content=content).headers["location"]
        until(lambda: small.client.get(place).json()["state"] in ("done", "failed"))
        answers.append(small.client.get(place + "/probability.nii.gz"))

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.2)
    os.kill(killed, signal.SIGKILL)
    asking.join(180)
    (answer,) = answers
    assert answer.status_code in ((200, 503) if way == "sync" else (200,)), answer.text
    if answer.status_code == 200:
        np.testing.assert_allclose(np.asanyarray(image_of(answer.content).dataobj), data / FULL, rtol=1e-6)
    until(lambda: small.client.get("/readyz").status_code == 200)
    assert small.worker() != killed
    check(small, data, ASYMMETRIC.matrix, "float32")


@pytest.mark.slow
@pytest.mark.parametrize("host", ["0.0.0.0", "::1", "127.0.0.2"])
def test_the_models_beside_it_are_found_wherever_it_listens(small, host):
    one = Gateway("--host", host, models=small.folder, token="secret")
    try:
        headers = {"Authorization": "Bearer secret"}
        content = nifti_bytes(distinct(ASYMMETRIC.shape), ASYMMETRIC.matrix)
        name = {"Host": "localhost"}
        assert one.client.get("/readyz", headers=name).status_code == 200
        assert one.client.post("/segment", content=content, headers=name).status_code == 401
        assert one.client.post("/segment", content=content, headers=headers | name).status_code == 200
    finally:
        assert one.stop()[0] == 0


@pytest.mark.slow
def test_the_real_grid(tmp_path):
    """197 x 233 x 189, every axis elsewhere, every kind of voxels."""
    grid = template_grid()
    assert grid.shape == (197, 233, 189)
    gateway = serve(tmp_path / "serving_models", grid)
    try:
        data = distinct(grid.shape)
        for number, kind in zip((0, 13, 22, 47, 31), KINDS, strict=False):
            check(gateway, *turned(data, grid.matrix, *ORIENTATIONS[number]), kind)
    finally:
        assert gateway.stop()[0] == 0
