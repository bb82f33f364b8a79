"""A trained network put in a cheaper order for answering; what it answers stays the same, bit by bit."""

from __future__ import annotations

import keras
from keras import layers


def rearrange(network: keras.Model) -> keras.Model:
    """The same function with fewer products: pixels are repeated after a 1 x 1 convolution, not before it.

    Each pixel of such a convolution depends on that pixel alone, so the two may change places; the convolution then
    has a quarter of the pixels, and fewer channels are repeated. In RAX-Net these are the layers `d*_previous`
    (docs/spec/method.md#network).

    Args:
        network: Functional.

    Returns:
        A copy with copied weights; the network itself where there is nothing to exchange.
    """
    repeats = _exchangeable(network)  # by the name of the convolution behind them
    if not repeats:
        return network
    skipped = {repeat.name for repeat in repeats.values()}

    def call(layer: layers.Layer, *args: keras.KerasTensor, **kwargs: object) -> keras.KerasTensor:
        if layer.name in skipped:
            return args[0]
        result = layer(*args, **kwargs)
        if layer.name not in repeats:
            return result
        return layers.UpSampling2D.from_config(repeats[layer.name].get_config())(result)

    bare = keras.Model(
        network.input, network.output, name=network.name
    )  # a clone would want to be compiled again
    copy = keras.models.clone_model(bare, call_function=call)
    for layer in network.layers:
        if layer.weights:
            copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy


def _exchangeable(network: keras.Model) -> dict[str, layers.Layer]:
    """The nearest-neighbor upsamplings that feed a 1 x 1 convolution and nothing else, by its name."""
    users: dict[int, list[object]] = {id(tensor): [network] for tensor in network.outputs}
    for layer in network.layers:
        for tensor in keras.tree.flatten(layer.input):
            users.setdefault(id(tensor), []).append(layer)
    found = {}
    for layer in network.layers:
        if isinstance(layer, layers.UpSampling2D) and layer.interpolation == "nearest":
            following = users.get(id(layer.output), [])
            if len(following) == 1 and isinstance(following[0], layers.Conv2D) and _pointwise(following[0]):
                found[following[0].name] = layer
    return found


def _pointwise(layer: layers.Conv2D) -> bool:
    return layer.kernel_size == (1, 1) and layer.strides == (1, 1)
