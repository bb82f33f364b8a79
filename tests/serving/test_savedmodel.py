"""Models with their weights as constants answer as they were saved; bfloat16 where it is asked for."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from lesions import nifti
from lesions.errors import InputError
from lesions.grid import Volume
from pipeline.cli import main
from serving import device
from serving.savedmodel import SavedModel
from tests.serving.conftest import ASYMMETRIC, make_card
from tests.serving.server import ROOT, Server, save_zoo


def run(model, name, **inputs):
    import tensorflow as tf

    found = model.run(name, {alias: tf.constant(value) for alias, value in inputs.items()})
    return {alias: value.numpy() for alias, value in found.items()}


def test_inputs_and_outputs_keep_their_names(tmp_path):
    model = SavedModel(save_zoo(tmp_path / "1"))
    a, b = np.array([1, 2], np.float32), np.array([10, 20], np.float32)
    found = run(model, "two", b=b, a=a)
    np.testing.assert_array_equal(found["sum"], [11, 22])
    assert np.isnan(found["none"]).all()
    (words,) = run(model, "words", words=np.array([b"x", b"\xff"], object)).values()
    assert words.tolist() == [b"x", b"\xff"]


def save_normalized(folder):
    """A convolution and batch normalization, as RAX-Net is made of, and the module."""
    import tensorflow as tf

    kernel = tf.Variable(np.random.default_rng(0).normal(size=(3, 3, 1, 8)).astype(np.float32))
    scale, offset, mean, variance = (tf.Variable(np.full(8, v, np.float32)) for v in (2, 0.5, 0.1, 0.7))

    def function(x):
        y = tf.nn.conv2d(x, kernel, 1, "SAME")
        y, *_ = tf.compat.v1.nn.fused_batch_norm(y, scale, offset, mean, variance, is_training=False)
        return {"y": tf.nn.relu(y)}

    module = tf.Module()
    module.kept = [kernel, scale, offset, mean, variance]
    module.function = tf.function(function, input_signature=[tf.TensorSpec([None, 8, 8, 1], tf.float32, "x")])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.function})
    return folder


def test_answers_are_those_of_the_saved_signature(tmp_path):
    import tensorflow as tf

    model = SavedModel(save_normalized(tmp_path / "1"))
    x = np.random.default_rng(1).normal(size=(3, 8, 8, 1)).astype(np.float32)
    saved = model.signature("serving_default")(x=tf.constant(x))["y"].numpy()
    np.testing.assert_allclose(run(model, "serving_default", x=x)["y"], saved, atol=1e-5)
    for variable in model._model.kept:
        variable.assign(variable * 0)
    assert np.abs(model.signature("serving_default")(x=tf.constant(x))["y"].numpy()).max() == 0
    np.testing.assert_allclose(run(model, "serving_default", x=x)["y"], saved, atol=1e-5)


def test_a_model_with_a_table_is_asked_as_it_was_saved(tmp_path):
    import tensorflow as tf

    keys = tf.lookup.KeyValueTensorInitializer(["a", "b"], [1.0, 2.0])
    table = tf.lookup.StaticHashTable(keys, -1.0)
    module = tf.Module()
    module.table = table
    spec = tf.TensorSpec([None], tf.string, "x")
    function = tf.function(lambda x: {"y": table.lookup(x)}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"serving_default": function})
    found = run(SavedModel(tmp_path / "1"), "serving_default", x=["b", "c"])
    assert found["y"].tolist() == [2.0, -1.0]


def test_where_bfloat16_is_refused(tmp_path, models, monkeypatch, capsys):
    scan = str(tmp_path / "scan.nii.gz")
    nifti.write(scan, Volume(np.ones(ASYMMETRIC.shape, np.float32), ASYMMETRIC))
    words = ["segment", scan, str(tmp_path / "out"), "--precision", "bfloat16"]
    assert main.main([*words, "--server", "http://127.0.0.1:1"]) == 2
    assert "--precision: the server has its own" in capsys.readouterr().err
    monkeypatch.setattr(device, "has_bfloat16", lambda: False)
    for command in ([*words, "--models", str(models)], ["serve", str(models), "--precision", "bfloat16"]):
        assert main.main(command) == 2
        assert "AVX-512 BF16 or AMX is needed" in capsys.readouterr().err
    with pytest.raises(InputError, match="expected float32 or bfloat16, found 'half'"):
        device.compute_in("half")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A folder with a small RAX-Net for axial slices."""
    from lesions.slices import canvas, slice_shape
    from trainer import fit, signatures
    from trainer.settings import TrainingSettings

    folder, plane = tmp_path_factory.mktemp("network"), "axial"
    shape, padding = slice_shape(ASYMMETRIC.shape, plane), canvas(ASYMMETRIC.shape, plane)
    model = fit.build(TrainingSettings(), shape, padding)
    signatures.export(model, shape, padding, folder / plane / "1", card=make_card(plane))
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not device.has_bfloat16(), reason="no processor here that multiplies in bfloat16")
def test_bfloat16_moves_probabilities_a_little_by_command_and_by_server(tmp_path, network, scan_data):
    nifti.write(tmp_path / "scan.nii.gz", Volume(scan_data(), ASYMMETRIC))
    found, sidecars = {}, {}
    for precision in device.PRECISIONS:
        command = [sys.executable, "-m", "pipeline.cli.main", "segment", str(tmp_path / "scan.nii.gz")]
        command += [str(tmp_path / precision), "--models", str(network), "--precision", precision, "--json"]
        done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True)
        (sidecars[precision],) = json.loads(done.stdout)
        found[precision] = nifti.read(sidecars[precision]["Mask"].replace("_mask", "_probseg")).data
    difference = np.abs(found["bfloat16"].astype(float) - found["float32"])
    assert 0 < difference.max() < 0.5
    assert difference.mean() < 0.02
    kept = {precision: one["Models"]["axial"].get("Precision") for precision, one in sidecars.items()}
    assert kept == {"float32": None, "bfloat16": "bfloat16"}
    asked = {"instances": scan_data()[None, :, :, 3].tolist()}
    answers = {}
    for precision in device.PRECISIONS:
        server = Server(network, "--precision", precision)
        answers[precision] = np.array(server.predict("axial", asked).json()["predictions"])
        server.stop()
    difference = np.abs(answers["bfloat16"] - answers["float32"])
    assert 0 < difference.max() < 0.5
