"""CLCI-Net, stage by stage (docs/spec/comparison_networks.md#clci-net)."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.spec_pages import numbers
from tests.trainer.stages import initializers, of_kind, output, sums
from trainer import networks
from trainer.networks.clcinet import steep_gate

LEVELS = {  # double convolution, strided, fused
    1: (9_824, 9_376, 17_664),
    2: (184_960, 55_936, 100_864),
    3: (738_560, 259_968, 529_408),
    4: (2_951_680, 1_111_040, 2_631_680),
}
DECODER = {  # up, skip, ConvLSTM, double convolution
    4: (1_049_856, 66_816, 4_719_616, 1_182_208),
    3: (131_712, 17_024, 1_180_160, 296_192),
    2: (33_088, 4_416, 295_168, 74_368),
    1: (8_352, 1_184, 73_856, 18_752),
}
PYRAMID = {
    "bottleneck": 11_801_600,
    "strided": 1_111_040,
    "point": 132_352,
    "dilated": 3_542_784,
    "whole": 132_352,
    "merge": 2_364_416,
    "probability": 33,
}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return networks.build("clcinet", 64, 48)


def test_parameters_in_all_and_of_every_stage(model):
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert (model.count_params(), trainable) == (36_838_305, 36_813_025)
    found = sums(model)
    for level, expected in LEVELS.items():
        assert tuple(found.pop(f"{stage}{level}") for stage in "esx") == expected
    for level in DECODER:
        assert found.pop(f"d{level}") == sum(DECODER[level])
    assert found == PYRAMID


def test_the_reference_has_these_sizes():
    sizes = [*sum(LEVELS.values(), ()), *PYRAMID.values(), *sum(DECODER.values(), ())]
    assert np.concatenate(numbers("comparison_networks.md", "CLCI-Net")).tolist() == sizes


@pytest.mark.parametrize("level", DECODER)
def test_parameters_of_a_decoder_stage(model, level):
    def count(*parts):
        names = [f"d{level}_{part}" for part in parts]
        return sum(layer.count_params() for layer in model.layers if layer.name.startswith(tuple(names)))

    assert (count("up"), count("skip"), count("lstm"), count("1", "2")) == DECODER[level]


def test_every_level_is_strided_to_the_next_and_stands_in_front(model):
    for n in (1, 2, 3, 4):
        below = output(model, f"s{n}_pool")
        for m in range(1, n + 1):
            conv = model.get_layer(f"s{n}_{m}_conv")
            assert conv.input is output(model, f"e{m}_2_relu")
            assert (conv.strides, conv.kernel_size) == ((2 ** (n + 1 - m),) * 2, (3, 3))
            front, behind = model.get_layer(f"s{n}_{m}_concat").input
            assert front is output(model, f"s{n}_{m}_relu")
            assert behind is below
            below = output(model, f"s{n}_{m}_concat")
        assert below.shape[-1] == (64, 192, 512, 1280)[n - 1]
        assert model.get_layer(f"x{n}_conv").input is below
        assert output(model, f"x{n}_relu").shape[1:] == (64 >> n, 48 >> n, 256 << (n - 1))


def test_the_pyramid_s_branches_and_their_order(model):
    branches = model.get_layer("merge_concat").input
    names = [f"strided_{n}_relu" for n in (1, 2, 3, 4)] + ["point_relu"]
    names += [f"dilated_{rate}_relu" for rate in (2, 4, 6)] + ["whole_spread"]
    assert len(branches) == len(names)
    assert all(branch is output(model, name) for branch, name in zip(branches, names, strict=True))
    assert output(model, "merge_concat").shape[1:] == (4, 3, 2304)
    assert [model.get_layer(f"strided_{n}_conv").strides[0] for n in (1, 2, 3, 4)] == [16, 8, 4, 2]
    assert [model.get_layer(f"dilated_{rate}_conv").dilation_rate[0] for rate in (2, 4, 6)] == [2, 4, 6]
    assert output(model, "whole_mean").shape[1:] == (1, 1, 512)


def test_context_inference_reads_below_first_then_the_encoder(model):
    previous = {4: "merge_dropout", 3: "d4_2_relu", 2: "d3_2_relu", 1: "d2_2_relu"}
    for level, source in previous.items():
        assert model.get_layer(f"d{level}_up").input is output(model, source)
        first, second = model.get_layer(f"d{level}_sequence").input
        assert model.get_layer(f"d{level}_step_0").input is output(model, f"d{level}_up_relu")
        assert model.get_layer(f"d{level}_step_1").input is output(model, f"d{level}_skip_relu")
        assert first is output(model, f"d{level}_step_0")
        assert second is output(model, f"d{level}_step_1")
        assert model.get_layer(f"d{level}_skip_conv").input is output(model, f"e{level}_2_relu")
        assert model.get_layer(f"d{level}_up_conv").kernel_size == (2, 2)


def test_kernels_dropout_and_no_regularizer(model):
    kinds = initializers(model)
    assert kinds.pop("probability") == "GlorotUniform"
    assert set(kinds.values()) == {"HeNormal"}
    for lstm in of_kind(model, layers.ConvLSTM2D):
        assert type(lstm.recurrent_initializer).__name__ == "Orthogonal"
        assert lstm.unit_forget_bias
        assert not lstm.return_sequences
        assert lstm.activation.__name__ == "tanh"
        assert lstm.recurrent_activation is steep_gate
    dropout = {d.name: d.rate for d in of_kind(model, layers.Dropout)}
    assert dropout == {"bottleneck_dropout": 0.5, "merge_dropout": 0.5}
    assert model.losses == []


def test_the_gate_is_the_steep_one():
    x = np.array([-3.0, -2.5, -1.0, 0.0, 1.0, 2.5, 3.0], np.float32)
    np.testing.assert_allclose(steep_gate(x), [0, 0, 0.3, 0.5, 0.7, 1, 1], atol=1e-6)
    assert keras.saving.get_registered_object("raxnet>steep_gate") is steep_gate


def test_the_convlstm_is_its_formula(model):
    """Both steps in NumPy with 1x1 maps, where a 3x3 convolution is its middle weight."""
    lstm = model.get_layer("d1_lstm")
    kernel, recurrent, bias = (np.asarray(w, np.float64) for w in lstm.get_weights())
    steps = np.random.default_rng(0).normal(size=(1, 2, 1, 1, 32)).astype("float32")
    h = c = np.zeros(32)
    for x in steps[0, :, 0, 0]:
        i, f, g, o = np.split(x @ kernel[1, 1] + h @ recurrent[1, 1] + bias, 4)
        i, f, o = (np.clip(0.2 * gate + 0.5, 0, 1) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
    alone = layers.ConvLSTM2D.from_config(lstm.get_config())
    alone.build((None, 2, 1, 1, 32))
    alone.set_weights(lstm.get_weights())
    np.testing.assert_allclose(np.asarray(alone(steps))[0, 0, 0], h, rtol=1e-4, atol=1e-5)
