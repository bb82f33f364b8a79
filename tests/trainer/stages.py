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


def settled(name, height, width, given=None):
    """An untrained network whose answers vary between 0 and 1, as a trained one's do.

    In a fresh one batch normalization takes all means for 0 and all variances for 1, and nearly every probability
    is 0 or 1. Here it knows the statistics that its layers have on the given images, and the head's logits are
    scaled to mean 0 and deviation 1.
    """
    keras.utils.set_random_seed(0)
    model = networks.build(name, height, width, batch_norm_momentum=0.0)
    given, head = images(model, 2) if given is None else given, model.get_layer("probability")
    model(given, training=True)
    kernel, _ = head.get_weights()
    last = np.asarray(keras.Model(model.input, head.input)(given, training=False))
    logits = last @ kernel[0, 0]
    head.set_weights([kernel / logits.std(), np.array([-logits.mean() / logits.std()])])
    assert 0.1 < np.asarray(model(given, training=False)).std() < 0.3
    return model
