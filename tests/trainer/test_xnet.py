"""X-Net, stage by stage (docs/spec/comparison_networks.md#x-net)."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.spec_pages import numbers
from tests.trainer.stages import initializers, of_kind, output, sums
from trainer import networks
from trainer.networks.xnet import PositionSimilarity

SUMS = {
    "e1": 11_277,
    "e2": 55_872,
    "e3": 210_048,
    "e4": 813_312,
    "e5": 3_199_488,
    "fsm": 2_397_824,
    "u4": 4_721_152,
    "u3": 1_180_928,
    "u2": 295_552,
    "u1": 74_048,
    "d4": 1_609_728,
    "d3": 411_648,
    "d2": 107_520,
    "d1": 29_184,
    "probability": 65,
}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return networks.build("xnet", 64, 48)


def test_parameters_in_all_and_of_every_stage(model):
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert (model.count_params(), trainable) == (15_117_646, 15_072_332)
    assert sums(model) == SUMS


def test_the_reference_has_these_sizes():
    sizes = numbers("comparison_networks.md", "X-Net", slice(-1, None))
    assert np.concatenate(sizes).tolist() == list(SUMS.values())


def test_skips_and_their_order(model):
    for level in (4, 3, 2, 1):
        first, second = model.get_layer(f"d{level}_concat").input
        assert first is output(model, f"e{level}_add")  # before the pooling
        assert second is output(model, f"u{level}_relu")
        assert model.get_layer(f"e{level + 1}_pool").input is output(model, f"e{level}_add")
        assert model.get_layer(f"u{level}_conv").kernel_size == (3, 3)
    assert output(model, "e5_add").shape[1:] == (4, 3, 1024)
    assert model.get_layer("u4_up").input is output(model, "fsm_add")


def test_a_block_is_three_separable_convolutions_beside_a_residual(model):
    for stage in ("e1", "e5", "d2"):
        main, residual = model.get_layer(f"{stage}_add").input
        assert main is output(model, f"{stage}_3_point_relu")
        assert residual is output(model, f"{stage}_residual_relu")
        entry = model.get_layer(f"{stage}_residual_conv").input
        assert model.get_layer(f"{stage}_1_depthwise").input is entry
    assert all(not d.use_bias and d.depth_multiplier == 1 for d in of_kind(model, layers.DepthwiseConv2D))
    assert len(of_kind(model, layers.DepthwiseConv2D)) == 27
    assert model.get_layer("e1_residual_conv").input is model.input  # no stem


def test_weight_decay_on_every_kernel_but_the_head_s(model):
    kernels = [
        weight
        for layer in model.layers
        for weight in layer.weights
        if len(weight.shape) == 4 and layer.name != "probability"
    ]
    assert len(kernels) == len(model.losses)
    expected = 1e-5 * sum(float((np.asarray(kernel, np.float64) ** 2).sum()) for kernel in kernels)
    assert sum(float(loss) for loss in model.losses) == pytest.approx(expected, rel=1e-4)


def test_kernels(model):
    kinds = initializers(model) | initializers(model, "depthwise_initializer")
    assert kinds.pop("probability") == "GlorotUniform"
    assert set(kinds.values()) == {"HeNormal"}


@pytest.mark.parametrize(("height", "width"), [(4, 3), (8, 3)])
def test_similarity_is_divided_by_the_number_of_positions_there_are(height, width):
    rng = np.random.default_rng(0)
    theta, phi, g = rng.normal(size=(3, 2, height, width, 5)).astype("float32")
    n = height * width
    a = np.einsum("bic,bjc->bij", theta.reshape(2, n, 5), phi.reshape(2, n, 5)) / n
    expected = np.einsum("bij,bjc->bic", a, g.reshape(2, n, 5)).reshape(2, height, width, 5)
    np.testing.assert_allclose(PositionSimilarity()([theta, phi, g]), expected, rtol=1e-4, atol=1e-5)


def test_similarity_follows_a_size_known_only_when_it_runs():
    views = [keras.Input((None, None, 5)) for _ in range(3)]
    model = keras.Model(views, PositionSimilarity()(views))
    for height, width in ((2, 3), (4, 6)):
        ones = np.ones((1, height, width, 5), "float32")
        np.testing.assert_allclose(model([ones] * 3), 5 * ones, rtol=1e-5)  # 5 channels, whatever the size


def test_the_module_adds_what_is_similar_and_then_its_input(model):
    assert model.get_layer("fsm_inner_add").input[0] is output(model, "fsm_in_relu")
    assert model.get_layer("fsm_value").input is output(model, "fsm_similarity")
    views = [output(model, f"fsm_{name}") for name in ("theta", "phi", "g")]
    given = model.get_layer("fsm_similarity").input
    assert all(one is other for one, other in zip(given, views, strict=True))
    assert [
        t is output(model, name)
        for t, name in zip(model.get_layer("fsm_add").input, ("fsm_out_relu", "e5_add"), strict=True)
    ] == [True, True]
    for name in ("theta", "phi", "g", "value"):
        conv = model.get_layer(f"fsm_{name}")
        assert (conv.use_bias, conv.activation.__name__) == (False, "linear")
