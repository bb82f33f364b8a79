"""What holds for every network: sizes, cost, saving, precision, chance, a training step."""

import functools
import math
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tests.spec_pages import numbers
from tests.trainer.stages import images, settled
from trainer import checkpoint, cost, losses, networks
from trainer.networks import NETWORKS

PARAMETERS = {"raxnet": 4_837_473, "dunet": 8_640_163, "clcinet": 36_838_305, "xnet": 15_117_646}
# Giga-FLOPs, two per multiply-add, of one slice.
GFLOPS = {
    ("raxnet", 208, 240): 2 * 4.274,
    ("raxnet", 240, 208): 2 * 4.274,
    ("raxnet", 208, 208): 2 * 3.704,
    ("dunet", 208, 240): 44.7,
    ("dunet", 208, 192): 35.8,
    ("dunet", 240, 192): 41.3,
    ("dunet", 192, 224): 38.5,
    ("clcinet", 208, 240): 97.2,
    ("clcinet", 208, 192): 77.7,
    ("clcinet", 240, 192): 89.7,
    ("clcinet", 192, 224): 83.7,
    ("xnet", 208, 240): 46.6,
    ("xnet", 208, 192): 37.3,
    ("xnet", 240, 192): 43.0,
    ("xnet", 192, 224): 40.2,
}
CANVASES = [(208, 240), (240, 208), (208, 208)]


@functools.cache
def plan_of(name, height, width, *settings):
    """The network without its numbers: ten times as fast to build."""
    with keras.StatelessScope(initialize_variables=False):
        planned = networks.build(name, height, width, *settings)
    keras.utils.clear_session(free_memory=False)  # else Keras makes these numbers with the next network's
    return planned


@pytest.fixture(scope="module", params=sorted(PARAMETERS))
def model(request):
    return settled(request.param, 64, 48)


def test_every_network_is_tested_here():
    assert set(PARAMETERS) == set(NETWORKS)


@pytest.mark.parametrize(("height", "width"), [*CANVASES, (16, 16), (64, 48)])
@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_any_multiple_of_16_keeps_its_size_and_parameters(name, height, width):
    planned = plan_of(name, height, width)
    assert planned.input_shape == (None, height, width, len(NETWORKS[name].context))
    assert planned.output_shape == (None, height, width, 1)
    assert planned.count_params() == PARAMETERS[name]


@pytest.mark.parametrize(("name", "height", "width"), sorted(GFLOPS))
def test_cost_is_the_specified_one(name, height, width):
    expected = GFLOPS[name, height, width]
    tolerance = 0.001 if name == "raxnet" else 0.05  # as many digits as were given
    assert 2e-9 * cost.macs(plan_of(name, height, width)) == pytest.approx(expected, abs=tolerance)


def test_the_documented_table_is_what_the_networks_say():
    text = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    titles = {"RAX-Net": "raxnet", "CLCI-Net": "clcinet", "D-UNet": "dunet", "X-Net": "xnet"}
    found = {titles[row[0]]: row[1:] for row in rows if len(row) == 6 and row[0] in titles}
    assert set(found) == set(PARAMETERS)
    for name, (parameters, trainable, *giga) in found.items():
        planned = [plan_of(name, *size) for size in CANVASES]
        assert parameters == f"{planned[0].count_params():,}"
        assert trainable == f"{sum(math.prod(v.shape) for v in planned[0].trainable_variables):,}"
        assert giga == [f"{2e-9 * cost.macs(one):.2f}" for one in planned]


def test_the_reference_has_these_totals():
    totals = numbers("comparison_networks.md", "Where the facts come from", slice(1, 2))
    assert totals == [[PARAMETERS[name]] for name in ("dunet", "clcinet", "xnet")]


def test_answers_are_probabilities_and_each_slice_is_alone(model):
    given = images(model, 3)
    answer = np.asarray(model(given, training=False))
    assert answer.shape == (3, 64, 48, 1)
    assert answer.dtype == np.float32
    assert (answer >= 0).all()
    assert (answer <= 1).all()
    np.testing.assert_allclose(np.asarray(model(given[1:2], training=False)), answer[1:2], atol=5e-4)


def test_saved_and_loaded_by_keras_it_answers_the_same(model, tmp_path):
    assert not any(isinstance(layer, layers.Lambda) for layer in model.layers)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")  # safe mode: nothing of ours is unregistered
    given = images(model)
    np.testing.assert_array_equal(again(given, training=False), model(given, training=False))


def test_weights_of_one_plane_fit_another(model):
    other = networks.build(model.name, 48, 80)
    other.set_weights(model.get_weights())
    assert 0.01 < np.asarray(other(images(other), training=False)).mean() < 0.99


def test_batch_normalization_follows_the_setting(model):
    for settings, momentum in (((), 0.99), ((0.9,), 0.9)):
        planned = plan_of(model.name, 16, 16, *settings)
        norms = [layer for layer in planned.layers if isinstance(layer, layers.BatchNormalization)]
        assert {(n.momentum, n.epsilon) for n in norms} == {(momentum, 1e-3)}


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_bfloat16_inside_float32_outside(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = networks.build(name, 32, 16)
    finally:
        keras.config.set_dtype_policy("float32")
    answer = mixed(images(mixed), training=False)
    assert answer.dtype == "float32"
    assert mixed.layers[-2].compute_dtype == "bfloat16"
    assert np.isfinite(np.asarray(answer)).all()


@pytest.mark.parametrize("name", ["dunet", "clcinet"])
def test_a_checkpoint_keeps_the_state_of_dropout_too(name, tmp_path):
    keras.utils.set_random_seed(5)
    model = networks.build(name, 16, 16)
    given = images(model, 2)
    before = np.asarray(model(given, training=True))
    checkpoint.save(tmp_path / "last.npz", model.variables, checkpoint.State(network=name))
    first = np.asarray(model(given, training=True))
    checkpoint.load(tmp_path / "last.npz", model.variables, name)
    np.testing.assert_array_equal(model(given, training=True), first)
    assert np.abs(first - before).max() > 0  # else nothing was dropped, and this shows nothing


SLOW = {"clcinet", "xnet"}  # they train three times as long as the others


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in sorted(PARAMETERS)],
)
def test_a_training_step_lowers_the_loss(name):
    """With its own loss, on one batch of two slices; all weights move and stay finite."""
    keras.utils.set_random_seed(1)
    own = {"dunet": "enhanced_mixing", "clcinet": "squared_dice", "xnet": "cross_entropy_dice"}
    model = networks.build(name, 32, 16, 0.5)
    given = images(model, 2)
    masks = np.zeros((2, 32, 16, 1), "float32")
    masks[0, 8:20, 4:10] = 1
    given[..., 0][masks[..., 0] > 0] *= 0.2
    loss = losses.get(own.get(name, "focal_tversky"))
    model.compile(keras.optimizers.Adam(1e-3), loss, run_eagerly=True)  # building graphs would take a minute
    before = [np.array(v) for v in model.trainable_variables]
    history = model.fit(given, masks, epochs=3, batch_size=2, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert min(history[1:]) < history[0]
    moved = [
        np.abs(np.asarray(v) - b).max() > 0 for v, b in zip(model.trainable_variables, before, strict=True)
    ]
    assert all(np.isfinite(np.asarray(v)).all() for v in model.variables)
    assert np.mean(moved) > 0.9
