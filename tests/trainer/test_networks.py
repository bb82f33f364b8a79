"""RAX-Net is the method's network, block by block (docs/spec/method.md#network), and can be ablated part by part."""

import keras
import numpy as np
import pytest

from tests.spec_pages import numbers
from trainer import networks

SUMS = {
    "stem_conv": 320,
    "e64_1_conv": 18_496,
    "e64_1_sepconv": 4_736,
    "e64_shortcut": 2_112,
    "e128_1_conv": 73_856,
    "e128_1_sepconv": 17_664,
    "e128_2_conv": 147_584,
    "e128_2_sepconv": 17_664,
    "e128_shortcut": 8_320,
    "e256_1_conv": 295_168,
    "e256_1_sepconv": 68_096,
    "e256_2_conv": 590_080,
    "e256_2_sepconv": 68_096,
    "e256_shortcut": 33_024,
    **{f"d256_{unit}_deconv": 590_080 for unit in (1, 2, 3, 4)},
    "d256_previous": 65_792,
    "d256_skip": 33_024,
    "d256_attention": 65_792,
    "d128_1_deconv": 295_040,
    **{f"d128_{unit}_deconv": 147_584 for unit in (2, 3, 4)},
    "d128_previous": 32_896,
    "d128_skip": 8_320,
    "d128_attention": 16_512,
    "d64_1_deconv": 73_792,
    "d64_2_deconv": 36_928,
    "d64_previous": 8_256,
    "d64_skip": 2_112,
    "d64_attention": 4_160,
    "d32_1_deconv": 18_464,
    "d32_2_deconv": 9_248,
    "d32_previous": 2_080,
    "d32_skip": 64,
    "d32_attention": 1_056,
    "probability": 33,
}


@pytest.fixture(scope="module")
def model():
    return networks.build("raxnet", 208, 240)


def test_parameters(model):
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert (model.count_params(), trainable) == (4_837_473, 4_829_665)


def test_every_convolution_has_the_specified_size_and_there_is_no_other(model):
    convolutions = {
        layer.name: layer.count_params()
        for layer in model.layers
        if layer.count_params() and not isinstance(layer, keras.layers.BatchNormalization)
    }
    assert convolutions == SUMS


def test_the_reference_has_these_sizes():
    assert sorted(np.concatenate(numbers("method.md", "Parameters"))) == sorted(SUMS.values())


@pytest.mark.parametrize(("rows", "columns"), [(208, 240), (240, 208), (208, 208), (80, 64)])
def test_any_multiple_of_16_keeps_its_size_and_parameters(rows, columns):
    model = networks.build("raxnet", rows, columns)
    assert model.output_shape == (None, rows, columns, 1)
    assert model.count_params() == 4_837_473


def test_blocks_lie_at_the_specified_resolutions(model):
    at = {
        name: model.get_layer(name).output.shape[1:3]
        for name in ("e64_add", "e128_add", "e256_add", "d256_add", "d32_add")
    }
    assert at == {
        "e64_add": (52, 60),
        "e128_add": (26, 30),
        "e256_add": (13, 15),
        "d256_add": (26, 30),
        "d32_add": (208, 240),
    }


def test_skips_join_the_specified_tensors(model):
    joined = {f: model.get_layer(f"d{f}_skip").input for f in (256, 128, 64, 32)}
    assert joined[256] is model.get_layer("e128_add").output
    assert joined[128] is model.get_layer("e64_add").output
    assert joined[64] is model.get_layer("stem_relu").output
    assert joined[32] is model.input
    assert model.get_layer("d256_previous_up").input is model.get_layer("e256_add").output
    assert model.get_layer("d128_previous_up").input is model.get_layer("d256_add").output


def test_batch_normalization_is_the_methods(model):
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {(n.momentum, n.epsilon) for n in norms} == {(0.99, 1e-3)}
    assert networks.build("raxnet", 32, 32, 0.9).get_layer("stem_norm").momentum == 0.9


def convolutions(model):
    return {name for layer in model.layers if (name := layer.name) in SUMS}


@pytest.mark.parametrize(
    ("options", "without"),
    [
        ({}, ()),
        ({"encoder_units": 1}, ("e128_2_", "e256_2_")),
        ({"decoder_units": 2}, ("_3_", "_4_")),
        ({"encoder_shortcuts": False}, ("_shortcut",)),
        ({"residual_attention": False}, ("_previous", "_skip", "_attention")),
    ],
)
def test_each_ablation_takes_away_its_part_alone(options, without):
    model = networks.build("raxnet", 32, 48, options=options)
    assert convolutions(model) == {name for name in SUMS if not any(part in name for part in without)}
    assert model.output_shape == (None, 32, 48, 1)


def test_the_original_s_ablation():
    options = {
        "encoder_units": 1,
        "decoder_units": 2,
        "encoder_shortcuts": False,
        "residual_attention": False,
    }
    assert networks.build("raxnet", 32, 32, options=options).count_params() == 2_247_137


def test_more_units_than_the_method_has():
    model = networks.build("raxnet", 32, 32, options={"encoder_units": 3, "decoder_units": 5})
    assert {layer.name for layer in model.layers} >= {"e64_3_sepconv", "d32_5_deconv"}
