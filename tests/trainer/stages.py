"""What tests of several networks ask of them."""

from collections import Counter

import keras
import numpy as np

from trainer import networks


def sums(model, *, without_norm=False):
    """Parameters of each stage: the layers whose names begin alike."""
    found = Counter()
    for layer in model.layers:
        if not (without_norm and isinstance(layer, keras.layers.BatchNormalization)):
            found[layer.name.split("_")[0]] += layer.count_params()
    return {stage: count for stage, count in found.items() if count}


def initializers(model, name="kernel_initializer"):
    """Kind of kernel initializer of every layer that has one."""
    return {layer.name: type(getattr(layer, name)).__name__ for layer in model.layers if hasattr(layer, name)}


def of_kind(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def output(model, name):
    return model.get_layer(name).output


def images(model, n=1, seed=0):
    """Random intensities in [0, 255] in the model's input shape."""
    shape = (n, *model.input_shape[1:])
    return np.random.default_rng(seed).uniform(0, 255, shape).astype("float32")


def settled(name, height, width, seed=0):
    """An untrained network whose answers vary: its batch normalization knows the statistics of its layers.

    A fresh one takes all means for 0 and all variances for 1, and its probabilities are all 0 or 1.
    """
    keras.utils.set_random_seed(seed)
    model = networks.build(name, height, width, batch_norm_momentum=0.0)
    given = images(model, 2, seed)
    model(given, training=True)
    answer = np.asarray(model(given, training=False))
    assert answer.std() > 0.01
    assert 0.01 < answer.mean() < 0.99
    return model
