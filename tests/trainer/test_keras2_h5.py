"""The authors' files: the same network built and saved in Keras 2 answers the same here."""

import contextlib
import csv
import json
import shutil

import h5py
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lesions.errors import InputError
from lesions.provenance import card_from_json
from lesions.slices import Canvas
from tests.conftest import DATA
from tests.serving.conftest import make_card
from tests.trainer import keras2
from trainer import keras2_config, keras2_h5, networks, signatures

SHAPE, PADDING = (28, 41), Canvas((3, 1), (2, 5))  # canvas 32 x 48


@pytest.fixture(scope="module")
def weights():
    return keras2.settled()


@pytest.fixture(scope="module")
def small(weights, tmp_path_factory):
    """The network in Keras 2 on a small canvas, and its file."""
    network = keras2.build(*PADDING.padded(*SHAPE))
    network.set_weights(weights)
    path = tmp_path_factory.mktemp("h5") / "small.h5"
    network.compile("adam", "binary_crossentropy")
    network.save(path)
    return network, path


def text(name):
    return name.decode() if isinstance(name, bytes) else name


def ours():
    return networks.build("raxnet", *PADDING.padded(*SHAPE))


def imported(path):
    network = ours()
    keras2_h5.read(path).fill(network)
    return network


def layout(path):
    """(layer, weight, shape) of every array in the file's own order."""
    with h5py.File(path) as file:
        group = file["model_weights"]
        assert len(group.attrs["layer_names"]) == 116
        layers = [text(name) for name in group.attrs["layer_names"]]
        return [
            (layer, text(name), "x".join(map(str, group[layer][text(name)].shape)))
            for layer in layers
            for name in group[layer].attrs["weight_names"]
        ]


def test_the_file_is_laid_out_as_the_authors_are(small):
    with (DATA / "original_h5_weights.csv").open() as stream:
        expected = [(row["layer"], row["weight"], row["shape"]) for row in csv.DictReader(stream)]
    assert layout(small[1]) == expected


def test_probabilities_of_the_signature_equal_keras_2s(small, tmp_path):
    slices = np.random.default_rng(1).gamma(2.0, 300.0, (5, *SHAPE)).astype(np.float32)
    expected = keras2.answer(small[0], slices, (PADDING.rows, PADDING.columns))
    assert expected.std() > 0.05
    signatures.export(imported(small[1]), SHAPE, PADDING, tmp_path)
    found = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](slices=tf.constant(slices))
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5, rtol=0)


def test_what_else_the_file_says(small):
    saved = keras2_h5.read(small[1])
    assert (saved.canvas, saved.loss, saved.card) == ((32, 48), "binary_crossentropy", "")
    assert saved.version.startswith("2.")


@pytest.mark.parametrize("how", ["numbers above zero", "activation layers", "weights alone"])
def test_files_that_mean_the_same(weights, small, tmp_path, how):
    network = keras2.build(32, 48, fresh=False, relu="activation" if how == "activation layers" else "layer")
    network.set_weights(weights)
    path = tmp_path / "axial.h5"
    (network.save_weights if how == "weights alone" else network.save)(path)
    for found, expected in zip(imported(path).get_weights(), weights, strict=True):
        np.testing.assert_array_equal(found, expected)
    if how == "weights alone":
        assert keras2_h5.read(path).canvas is None
        assert keras2_h5.read(path).plane == "axial"
        with pytest.raises(
            InputError, match=r"so its name must say the plane; rename it to one of axial\.h5, "
        ):
            assert keras2_h5.read(path.rename(tmp_path / "best.h5")).plane


class FocalTversky:
    """Stands for what the authors' code hands over as custom objects."""


@pytest.mark.parametrize("objects", [None, {"FocalTversky": FocalTversky, "Dice": FocalTversky}])
def test_keras_2_loads_what_is_written(small, tmp_path, objects):
    """Its answers are the same bits: what was imported is exported again, whichever custom objects are given."""
    import tf_keras

    path = tmp_path / "axial.h5"
    keras2_config.write(imported(small[1]), make_card("axial"), path)
    loaded = tf_keras.models.load_model(path, custom_objects=objects)
    slices = np.random.default_rng(2).gamma(2.0, 300.0, (3, *SHAPE)).astype(np.float32)
    answers = [
        keras2.answer(network, slices, (PADDING.rows, PADDING.columns)) for network in (loaded, small[0])
    ]
    np.testing.assert_array_equal(*answers)
    assert layout(path) == layout(small[1])
    saved = keras2_h5.read(path)
    assert card_from_json(saved.card, "") == make_card("axial")


def edited(small, folder, change):
    path = folder / "edited.h5"
    shutil.copy(small[1], path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def reconfigured(change):
    """Edits the configuration's layers."""

    def edit(file):
        content = json.loads(file.attrs["model_config"])
        change(content["config"]["layers"])
        file.attrs["model_config"] = json.dumps(content)

    return edit


def set_array(name, array):
    def edit(file):
        layer = file["model_weights"][name.split("/")[0]]
        del layer[name]
        layer[name] = array

    return edit


def setting(kind, key, value):
    """Changes a setting of the first layer of a class."""
    return reconfigured(
        lambda layers: next(one for one in layers if one["class_name"] == kind)["config"].update({key: value})
    )


def as_lambda(layers):
    layers[3] = {"class_name": "Lambda", "config": {"name": "x", "function": ["Y29kZQ==", None, None]}}


NAN = np.full(64, np.nan, np.float32)
WRONG = {  # what is done to a good file: what is said of it
    "code, which Keras 2 would run": (
        reconfigured(as_lambda),
        "another network; expected 27 x ReLU .*, found 26",
    ),
    "a leaky ReLU": (setting("ReLU", "negative_slope", 0.1), "another network; expected 27 x ReLU"),
    "dilated": (
        setting("Conv2DTranspose", "dilation_rate", [2, 2]),
        "expected 12 x Conv2DTranspose.*, found 11",
    ),
    "bilinear": (setting("UpSampling2D", "interpolation", "bilinear"), "interpolation=nearest, found 7"),
    "another epsilon": (setting("BatchNormalization", "epsilon", 1e-5), "epsilon=0.001, found 26"),
    "a layer more": (reconfigured(lambda layers: layers.append(layers[5])), "another network; expected"),
    "another shape": (
        set_array("conv2d_1/bias:0", np.zeros(63)),
        r"expected array 8, bias, of shape \(64,\), found \(63,\)",
    ),
    "no number": (
        set_array("conv2d_1/bias:0", NAN),
        "weights must be finite, found others in conv2d_1/bias:0",
    ),
    "huge, all zeros": (
        lambda file: (
            file["model_weights/conv2d_1"].create_dataset("huge", (1 << 40,), "f4", chunks=(1 << 20,))
            and file["model_weights/conv2d_1"].attrs.update({"weight_names": [b"huge"]})
        ),
        "more weights than",
    ),
    "text for numbers": (set_array("conv2d_1/bias:0", "text"), "truncated or damaged"),
    "a layer gone": (lambda file: file["model_weights"].pop("conv2d_3"), "truncated or damaged"),
    "no layers": (lambda file: file["model_weights"].attrs.pop("layer_names"), "no model of Keras 2"),
    "nested deep": (
        lambda f: f.attrs.update(model_config="[" * 60000),
        "truncated or damaged .*nested too deep",
    ),
    "no JSON": (lambda f: f.attrs.update(model_config="{"), "truncated or damaged"),
    "a list": (lambda f: f.attrs.update(model_config="[]"), "truncated or damaged .*no object"),
    "layers of no kind": (lambda f: f.attrs.update(model_config='{"config": {"layers": [3]}}'), "damaged"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_other_networks_and_damage_are_refused_with_what_was_found(small, tmp_path, wrong):
    change, said = WRONG[wrong]
    path = edited(small, tmp_path, change)
    with pytest.raises(InputError, match=said) as refused:
        imported(path)
    assert str(refused.value).startswith(f"{path}: ")


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.3, 0.9, 0.999])
def test_truncated(small, tmp_path, share):
    whole = small[1].read_bytes()
    path = tmp_path / "cut.h5"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match="truncated or damaged"):
        imported(path)


def test_what_is_no_such_file(tmp_path):
    path = tmp_path / "axial.h5"
    with pytest.raises(InputError, match=r"axial.h5: no such file; check the path"):
        keras2_h5.read(path)
    for content, said in ((b"", "empty"), (b"text" * 99, "must be HDF5, found something else")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=said):
            keras2_h5.read(path)
    ours().save(tmp_path / "axial.keras")
    with pytest.raises(InputError, match=r"must be HDF5, found a zip archive, as a .keras file is"):
        keras2_h5.read(tmp_path / "axial.keras")
    ours().save_weights(tmp_path / "axial.weights.h5")
    with pytest.raises(InputError, match="HDF5, but no model of Keras 2"):
        keras2_h5.read(tmp_path / "axial.weights.h5")


@given(at=st.floats(0, 0.999), value=st.binary(min_size=1, max_size=8))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_are_refused_or_read(small, tmp_path, at, value):
    content = bytearray(small[1].read_bytes())
    start = int(at**4 * len(content))  # mostly where the structure is
    content[start : start + len(value)] = value
    path = tmp_path / "flipped.h5"
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        keras2_h5.read(path)
