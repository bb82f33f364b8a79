"""D-UNet, stage by stage (docs/spec/comparison_networks.md#d-unet)."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.spec_pages import numbers
from tests.trainer.stages import images, initializers, of_kind, output, settled, sums

SUMS = {
    "v1": 28_832,
    "v2": 166_528,
    "v3": 664_832,
    "e1": 10_688,
    "e2": 55_936,
    "f2": 2_305,
    "e3": 222_464,
    "f3": 5_505,
    "e4": 887_296,
    "e5": 3_544_064,
    "d4": 2_296_576,
    "d3": 574_848,
    "d2": 144_064,
    "d1": 36_192,
    "probability": 33,
}


@pytest.fixture(scope="module")
def model():
    return settled("dunet", 64, 48)


def test_parameters_in_all_and_of_every_stage(model):
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert (model.count_params(), trainable) == (8_640_163, 8_633_379)
    assert sums(model) == SUMS


def test_the_reference_has_these_sizes():
    sizes = numbers("comparison_networks.md", "D-UNet", slice(-1, None))
    assert np.concatenate(sizes).tolist() == list(SUMS.values())


def test_stages_lie_at_the_specified_sizes(model):
    assert model.input_shape == (None, 64, 48, 4)
    sizes = {name: output(model, name).shape[1:] for name in ("v1_2_relu", "v2_2_relu", "v3_2_relu")}
    assert sizes == {
        "v1_2_relu": (64, 48, 4, 32),
        "v2_2_relu": (32, 24, 2, 64),
        "v3_2_relu": (16, 12, 1, 128),
    }
    assert output(model, "f2_channels").shape[1:] == (32, 24, 2)  # depth became channels
    assert output(model, "f3_channels").shape[1:] == (16, 12, 1)
    assert output(model, "e5_dropout").shape[1:] == (4, 3, 512)


def test_skips_and_their_order(model):
    skips = {4: "e4_dropout", 3: "f3_add", 2: "f2_add", 1: "e1_2_relu"}
    for level, skip in skips.items():
        first, second = model.get_layer(f"d{level}_concat").input
        assert first is output(model, skip)
        assert second is output(model, f"d{level}_up_conv")
    for level, source in {2: "e1_2_relu", 3: "f2_add", 4: "f3_add", 5: "e4_dropout"}.items():
        assert model.get_layer(f"e{level}_pool").input is output(model, source)


def test_both_branches_are_weighed_on_their_own_and_added(model):
    for level in (2, 3):
        assert [
            t is output(model, f"f{level}_{part}_scale")
            for part, t in zip(("volume", "plane"), model.get_layer(f"f{level}_add").input, strict=True)
        ] == [True, True]
        assert model.get_layer(f"f{level}_flatten").input is output(model, f"v{level}_2_relu")
        assert model.get_layer(f"f{level}_plane_scale").input[0] is output(model, f"e{level}_2_relu")
    assert all(not dense.use_bias for dense in of_kind(model, layers.Dense))
    assert len(of_kind(model, layers.Dense)) == 8


def test_activations_kernels_and_dropout(model):
    kinds = initializers(model)
    assert kinds.pop("probability") == "GlorotUniform"
    assert set(kinds.values()) == {"HeNormal"}
    assert {d.name: d.rate for d in of_kind(model, layers.Dropout)} == {"e4_dropout": 0.3, "e5_dropout": 0.3}
    for level in (4, 3, 2, 1):
        conv = model.get_layer(f"d{level}_up_conv")
        assert (conv.kernel_size, conv.activation.__name__) == ((2, 2), "relu")
    for level in (2, 3):
        assert model.get_layer(f"f{level}_flatten").activation.__name__ == "linear"
        assert model.get_layer(f"f{level}_conv").activation.__name__ == "relu"


def test_weighing_is_squeeze_and_excitation(model):
    """Against the formula: each channel times sigmoid(W2 relu(W1 mean))."""
    first, second = (model.get_layer(f"f2_plane_{kind}").get_weights()[0] for kind in ("squeeze", "excite"))
    part = keras.Model(model.input, [output(model, "e2_2_relu"), output(model, "f2_plane_scale")])
    x, scaled = (np.asarray(t) for t in part(images(model), training=False))
    weights = 1 / (1 + np.exp(-np.maximum(x.mean(axis=(1, 2)) @ first, 0) @ second))
    np.testing.assert_allclose(scaled, x * weights[:, None, None], rtol=1e-4, atol=1e-5)
    assert first.shape == (64, 4)


def test_every_neighbor_and_its_place_count(model):
    """The volume's depth is the order of the slices: neighbors exchanged give another answer."""
    image = images(model)
    answer = np.asarray(model(image, training=False))
    for channel in range(4):
        other = image.copy()
        other[..., channel] = 0
        assert np.abs(np.asarray(model(other, training=False)) - answer).max() > 1e-3
    assert np.abs(np.asarray(model(image[..., ::-1], training=False)) - answer).max() > 1e-3
