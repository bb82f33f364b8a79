"""The order in which an exported network computes: fewer products, the same bits."""

import keras
import numpy as np
import pytest
from keras import layers

from trainer import cost
from trainer.networks.raxnet import raxnet
from trainer.rearrange import rearrange


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(3)


def test_raxnet_answers_the_same_bits_with_the_products_saved():
    network = raxnet(32, 48)
    rng = np.random.default_rng(1)
    for layer in network.layers:  # moving means and the like of a trained one
        layer.set_weights([w + np.abs(rng.normal(0, 0.1, w.shape)) for w in layer.get_weights()])
    network.compile("sgd", lambda truth, predicted: predicted)  # as a trained one is
    cheap = rearrange(network)
    images = np.random.default_rng(0).uniform(0, 255, (3, 32, 48, 1)).astype(np.float32)
    np.testing.assert_array_equal(network(images, training=False), cheap(images, training=False))
    before = sum(products(network.get_layer(f"d{filters}_previous")) for filters in (256, 128, 64, 32))
    assert cost.macs(cheap) == cost.macs(network) - 3 * before // 4
    assert cheap.count_params() == network.count_params() == 4_837_473
    assert network.get_layer("d256_previous_up").input is network.get_layer("e256_add").output  # untouched


def products(layer):
    return layer.kernel.shape[2] * layer.kernel.shape[3] * layer.output.shape[1] * layer.output.shape[2]


def head(*, between=None, size=1, strides=1, interpolation="nearest", twice=False):
    image = keras.Input((8, 8, 3))
    up = layers.UpSampling2D(2, interpolation=interpolation)(image)
    x = between(up) if between else up
    x = layers.Conv2D(2, size, strides=strides, activation="relu", padding="same")(x)
    return keras.Model(image, [x, up] if twice else x)


@pytest.mark.parametrize(
    "options",
    [{"size": 3}, {"strides": 2}, {"interpolation": "bilinear"}, {"between": layers.ReLU()}],
    ids=["3 x 3", "strided", "bilinear", "something between"],
)
def test_what_may_not_be_exchanged_is_left(options):
    network = head(**options)
    assert rearrange(network) is network


def test_an_upsampling_with_another_user_is_left():
    image = keras.Input((8, 8, 3))
    up = layers.UpSampling2D(2)(image)
    network = keras.Model(image, layers.Concatenate()([up, layers.Conv2D(2, 1)(up)]))
    assert rearrange(network) is network


def test_an_upsampling_that_is_an_output_is_left():
    network = head(twice=True)
    assert rearrange(network) is network


def test_activations_inside_the_convolution_are_kept():
    network = head()
    images = np.random.default_rng(0).normal(0, 1, (2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(network(images), rearrange(network)(images))
