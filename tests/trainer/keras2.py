"""The method's network in Keras 2, with weights as after a training.

It is written from the network's description alone (docs/spec/method.md#network).
"""

import numpy as np

ENCODER = ((64, 1), (128, 2), (256, 2))
DECODER = ((256, 4), (128, 4), (64, 2), (32, 2))
CANVAS = {"axial": (208, 240), "sagittal": (240, 208), "coronal": (208, 208)}


def build(rows, columns, fresh=True, relu="layer", slope=0.0):
    """Layers in the order and with the names that the authors' files have.

    fresh: whether Keras counts layers from zero. relu: "layer" or "activation", two ways to say the same.
    """
    import tf_keras
    from tf_keras import layers

    if fresh:
        tf_keras.backend.clear_session()

    def rectify(x):
        made = layers.ReLU(negative_slope=slope) if relu == "layer" else layers.Activation("relu")
        return made(x)

    def norm(x):
        return layers.BatchNormalization()(x)

    def conv(x, filters, size, strides=1):
        return layers.Conv2D(filters, size, strides=strides, padding="same")(x)

    image = tf_keras.Input((rows, columns, 1))
    x = rectify(norm(conv(image, 32, 3, 2)))
    skips = [image, x]
    for filters, units in ENCODER:
        entry = x
        for _ in range(units):
            x = norm(conv(rectify(x), filters, 3))
            x = norm(layers.SeparableConv2D(filters, 3, padding="same")(rectify(x)))
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = layers.add([x, conv(entry, filters, 1, 2)])
        skips.append(x)
    previous = skips.pop()
    for filters, units in DECODER:
        for _ in range(units):
            x = norm(layers.Conv2DTranspose(filters, 3, padding="same")(rectify(x)))
        x = layers.UpSampling2D(2)(x)
        p = conv(layers.UpSampling2D(2)(previous), filters, 1)
        r = rectify(layers.add([p, conv(skips.pop(), filters, 1)]))
        previous = x = layers.add([x, norm(conv(r, filters, 1))])
    return tf_keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid", padding="same")(x))


def settled(seed=1):
    """Weights of a network whose statistics are those of some slices, but for a tenth; its answers are not trivial."""
    import tf_keras
    from tf_keras import layers

    # Of some networks float32 makes more than 1e-5 between two orders of adding up; this one's are half of that.
    tf_keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    network = build(48, 32)
    norms = [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
        layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
        layer.beta.assign(rng.normal(0, 0.3, layer.beta.shape))
    for layer in network.layers:
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign(rng.normal(0, 0.1, layer.bias.shape))
    some = 255 * rng.random((4, 48, 32, 1), np.float32)
    network(some, training=True)
    for layer in norms:
        layer.moving_variance.assign(layer.moving_variance * rng.uniform(0.9, 1.1, layer.gamma.shape))
        layer.moving_mean.assign(layer.moving_mean + 0.1 * rng.normal(0, 1, layer.gamma.shape))
    head = network.layers[-1]  # its answers are neither 0 nor 1 everywhere
    sums = tf_keras.Model(network.input, head.input)(some, training=False) @ head.kernel[0, 0]
    scale = 3 * sums.numpy().std()
    head.kernel.assign(head.kernel / scale)
    head.bias.assign([-sums.numpy().mean() / scale])
    return network.get_weights()


def answer(network, slices, plane_pads):
    """The authors' way with slices (n, h, w): 255 x / max, zero padding, one at a time, cropped.

    See docs/spec/method.md#slices.
    """
    (top, bottom), (left, right) = plane_pads
    whole = []
    for one in slices:
        padded = np.pad(255 * one / one.max(), [(top, bottom), (left, right)])
        whole.append(network(padded[None, ..., None], training=False).numpy()[0, ..., 0])
    height, width = slices.shape[1:]
    return np.stack(whole)[:, top : top + height, left : left + width]
