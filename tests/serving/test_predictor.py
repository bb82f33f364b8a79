"""SavedModels are found, judged and asked as the contract says."""

import shutil

import numpy as np
import pytest

from lesions.errors import InputError, WorkError
from lesions.grid import template_grid
from lesions.slices import PLANES, slice_shape
from serving.predictor import SavedModelPredictor, newest_version, open_models


@pytest.fixture
def copied(models, tmp_path):
    return shutil.copytree(models, tmp_path / "models")


def test_answers_equal_the_formula_in_each_plane(models, expected):
    predictor = open_models(models)
    assert predictor.planes == PLANES
    for plane in PLANES:
        shape = slice_shape(template_grid(6.0).shape, plane)
        slices = np.random.default_rng(1).uniform(1, 1500, (5, *shape)).astype(np.float32)
        answer = predictor.predict(plane, slices)
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer, expected(plane, slices), atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 64, 65, 150])
def test_calls_hold_sixty_four_slices_at_most(models, expected, count, monkeypatch):
    predictor = open_models(models)
    sizes, call = [], predictor._call
    monkeypatch.setattr(predictor, "_call", lambda plane, part: sizes.append(len(part)) or call(plane, part))
    slices = np.random.default_rng(2).random((count, *slice_shape(template_grid(6.0).shape, "axial")))
    answer = predictor.predict("axial", slices)
    np.testing.assert_allclose(answer, expected("axial", slices.astype(np.float32)), atol=1e-6)
    assert sum(sizes) == count
    assert max(sizes, default=0) <= predictor.slices_at_once == 64
    assert len(sizes) == -(-count // 64)


def test_newest_complete_version_is_taken_by_number(copied, export):
    axial = copied / "axial"
    export(axial / "10", "axial", template_grid(6.0), share=0.5)
    shutil.copytree(axial / "10", axial / "11")
    (axial / "11/saved_model.pb").unlink()
    shutil.copytree(axial / "10", axial / "12")
    (axial / "12/variables/variables.index").unlink()
    shutil.copytree(axial / "10", axial / "13")
    (axial / "13/assets.extra/raxnet.json").unlink()
    for name in ("tmp-99", "99.partial", "v99", "²"):
        shutil.copytree(axial / "10", axial / name)
    assert newest_version(axial) == axial / "10"
    predictor = open_models(copied)
    assert predictor.identity("axial")["version"] == "10"
    slices = np.full((1, *slice_shape(template_grid(6.0).shape, "axial")), 400, np.float32)
    assert predictor.predict("axial", slices)[0, 0, 0] == pytest.approx(0.2)


def test_identity_follows_the_weights(copied, models, export):
    before = open_models(models).identity("coronal")
    assert open_models(copied).identity("coronal") == before
    weights = next((copied / "coronal/3/variables").glob("variables.data*"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    after = open_models(copied).identity("coronal")
    assert after["version"] == before["version"]
    assert after["sha256"] != before["sha256"]


def test_planes_that_are_there_are_enough(copied):
    shutil.rmtree(copied / "sagittal")
    assert open_models(copied).planes == ("axial", "coronal")


def test_folder_without_models(tmp_path, models):
    with pytest.raises(InputError, match="no such folder"):
        open_models(tmp_path / "nothing")
    with pytest.raises(InputError, match="axial, sagittal, coronal"):
        open_models(tmp_path)
    with pytest.raises(InputError, match="did you mean"):
        open_models(models.parent)


def test_models_of_two_grids(copied, export):
    export(copied / "axial/4", "axial", template_grid(5.0))
    with pytest.raises(InputError, match="one grid"):
        open_models(copied)


def test_model_in_another_plane_s_folder(copied):
    shutil.rmtree(copied / "axial")
    shutil.copytree(copied / "coronal", copied / "axial")
    with pytest.raises(InputError, match="coronal"):
        open_models(copied)


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
def test_damaged_model(copied, name):
    path = copied / "axial/3" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    predictor = open_models(copied)
    slices = np.ones((1, *slice_shape(template_grid(6.0).shape, "axial")), np.float32)
    with pytest.raises(InputError, match="damaged model") as told:
        predictor.predict("axial", slices)
    assert "\n" not in str(told.value)


def test_damaged_card(copied):
    (copied / "axial/3/assets.extra/raxnet.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        open_models(copied)


def test_model_of_somebody_else(tmp_path, export):
    folder = export(tmp_path / "axial/1", "axial", template_grid(6.0), output="logits")
    slices = np.ones((1, *slice_shape(template_grid(6.0).shape, "axial")), np.float32)
    with pytest.raises(InputError, match="not a raxnet model"):
        SavedModelPredictor({"axial": folder}).predict("axial", slices)


def test_slices_of_another_size(models):
    predictor = open_models(models)
    for shape in ((1, 5, 5), (5, 5), (1, 33, 39, 1)):
        with pytest.raises(InputError, match="axial slices"):
            predictor.predict("axial", np.ones(shape, np.float32))


def test_answer_that_is_not_finite(models, monkeypatch):
    predictor = open_models(models)
    slices = np.full((1, *slice_shape(template_grid(6.0).shape, "axial")), np.nan, np.float32)
    with pytest.raises(WorkError, match="no probability"):
        predictor.predict("axial", slices)


def test_nothing_given():
    with pytest.raises(InputError, match="no model given"):
        SavedModelPredictor({})
