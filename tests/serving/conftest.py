"""Tiny models whose answers are known: each plane's probability is a formula of intensity and row."""

import asyncio

import numpy as np
import pytest

from lesions.grid import Grid, template_grid
from lesions.provenance import ModelCard
from lesions.slices import PLANES, canvas

BRIGHT = 1000.0
SHARE = {"axial": 0.9, "sagittal": 0.6, "coronal": 0.3}
ASYMMETRIC = Grid.of((12, 14, 10), [[3, 0, 0, -18], [0, 3, 0, -20], [0, 0, 3, -12], [0, 0, 0, 1]])


def make_card(plane, grid=ASYMMETRIC, phantom=True, fold=1, **facts):
    pads = canvas(grid.shape, plane)
    return ModelCard(
        plane=plane,
        fold=fold,
        network="tiny",
        loss="none",
        grid=grid,
        canvas=(pads.rows, pads.columns),
        dataset="RAX-Net phantom (seed 0)" if phantom else "ATLAS v2.0",
        phantom=phantom,
        subjects=18,
        validation_subjects=6,
        fold_map="f",
        data="d",
        epochs=2,
        best_epoch=1,
        parameters=3,
        **facts,
    )


def formula(plane, slices):
    """(n, h, w) -> probabilities: a plane's own share of the intensity, more toward the last row."""
    rows = np.linspace(0, 0.1, slices.shape[1], dtype=np.float32)[None, :, None]
    return np.clip(SHARE[plane] * slices / np.float32(BRIGHT) + rows, 0, 1).astype(np.float32)


class Spy:
    """A predictor of the formula that keeps what it was asked."""

    slices_at_once = 16

    def __init__(self, grid=ASYMMETRIC, planes=PLANES, phantom=True, answer=formula):
        self.planes = tuple(planes)
        self.cards = {plane: make_card(plane, grid, phantom) for plane in self.planes}
        self.asked = {plane: [] for plane in self.planes}
        self.answer = answer
        self.name = "1"

    def card(self, plane):
        return self.cards[plane]

    def identity(self, plane):
        return {"version": self.name, "sha256": f"{plane}{self.name}"}

    def pinned(self):
        return self

    def predict(self, plane, slices):
        self.asked[plane].append(slices.copy())
        return self.answer(plane, slices)

    @property
    def calls(self):
        return sum(len(asked) for asked in self.asked.values())


def save_model(folder, plane, grid=ASYMMETRIC, phantom=True, share=None, output="probabilities"):
    """Writes a SavedModel of the formula, as the pipeline exports one."""
    import tensorflow as tf

    from trainer import signatures

    x, y, z = grid.shape
    height, width = {"axial": (x, y), "sagittal": (y, z), "coronal": (x, z)}[plane]

    class Model(tf.Module):
        def __init__(self):
            super().__init__()
            self.share = tf.Variable(share or SHARE[plane], dtype=tf.float32)

        def serve(self, slices):
            rows = tf.linspace(0.0, 0.1, height)[None, :, None]
            return {output: tf.clip_by_value(self.share * slices / BRIGHT + rows, 0.0, 1.0)}

        def serve_bytes(self, slices_bytes):
            answer = self.serve(signatures.unpack(slices_bytes, (height, width)))
            return {"probabilities_bytes": signatures.pack(answer[output])}

    signatures.save(Model(), folder, (height, width), make_card(plane, grid, phantom))
    return folder


@pytest.fixture
def card():
    return make_card


@pytest.fixture
def expected():
    return formula


@pytest.fixture
def spy():
    return Spy


@pytest.fixture
def export():
    return save_model


@pytest.fixture
def grid():
    return ASYMMETRIC


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder of models of three planes on the ATLAS grid at 6 mm."""
    folder = tmp_path_factory.mktemp("trained") / "serving_models"
    for plane in PLANES:
        save_model(folder / plane / "3", plane, template_grid(6.0))
    return folder


@pytest.fixture
def scan_data():
    def make(shape=ASYMMETRIC.shape, seed=0):
        return np.random.default_rng(seed).uniform(1, BRIGHT, shape).astype(np.float32)

    return make


@pytest.fixture
def ask(tmp_path):
    """Asks once: the answer, after which nothing may be left in the gateway's folder."""

    def once(method, path, models=None, guard=None, **more):
        settings = more.pop("settings", {})

        from tests.serving.gateway_tools import InProcessModels, running

        async def work():
            async with running(models or InProcessModels(Spy()), tmp_path, guard, **settings) as (_, client):
                answer = await client.request(method, path, **more)
                left = [one for one in (tmp_path / "work").iterdir() if one.name != "sample.nii.gz"]
                assert not left, "not removed"
                return answer

        return asyncio.run(work())

    return once


@pytest.fixture
def body(scan_data):
    from tests.serving.gateway_tools import nifti_bytes

    return nifti_bytes(scan_data(), ASYMMETRIC.matrix)


@pytest.fixture
def coarse_registration(monkeypatch):
    """Registers on an eighth of the voxels: for what is made of a registration, not for how good it is."""
    from serving import registration

    registration._template.cache_clear()
    monkeypatch.setattr(registration, "WORKING", 4.0)
    yield
    registration._template.cache_clear()
