"""A network of ours as Keras 2's HDF5, so that programs of Keras 2 load it (docs/spec/method.md#weights-files)."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import keras

from lesions.provenance import ModelCard
from trainer.keras2_h5 import CARD, ESSENCE

KERAS = "2.14.0"  # the authors'
# Besides what decides a layer's answer: how many filters, and Keras 2 knows no other way of saying the rest.
_MORE = ("filters", "axis", "momentum", "data_format")


def write(network: keras.Model, card: ModelCard, path: Path) -> None:
    """Writes what `model.save(path)` of Keras 2 writes of a model that was not compiled, and the card beside it.

    Args:
        network: RAX-Net, of layers in `ESSENCE`.
        card: Where the weights come from; `raxnet import` reads it.
        path: The file.
    """
    names = _names(network)
    with h5py.File(path, "w") as file:
        file.attrs.update({"keras_version": KERAS, "backend": "tensorflow", CARD: card.as_json()})
        file.attrs["model_config"] = json.dumps(_config(network, names))
        group = file.create_group("model_weights")
        group.attrs.update({"keras_version": KERAS, "backend": "tensorflow"})
        group.attrs["layer_names"] = [name.encode() for name in names.values()]
        for layer in network.layers:
            name = names[layer.name]
            one = group.create_group(name)
            arrays = {f"{name}/{weight.name}:0": weight for weight in layer.weights}
            one.attrs["weight_names"] = [array.encode() for array in arrays]
            for array, weight in arrays.items():
                one[array] = keras.ops.convert_to_numpy(weight)


def _names(network: keras.Model) -> dict[str, str]:
    """Our layers' names to those that Keras 2 gives by itself: conv2d, conv2d_1, ..."""
    names, met = {}, Counter[str]()
    for layer in network.layers:
        kind = type(layer).__name__.replace("InputLayer", "Input")
        words = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind)
        base = re.sub("([a-z])([A-Z])", r"\1_\2", words).lower()
        names[layer.name] = f"{base}_{met[base]}" if met[base] else base
        met[base] += 1
    return names


def _config(network: keras.Model, names: dict[str, str]) -> dict[str, Any]:
    layers = []
    for layer in network.get_config()["layers"]:
        kind, name = layer["class_name"], names[layer["name"]]
        config = {key: layer["config"][key] for key in (*ESSENCE[kind], *_MORE) if key in layer["config"]}
        if kind == "InputLayer":
            config = {"batch_input_shape": layer["config"]["batch_shape"]}
        config |= {"name": name, "dtype": "float32"}
        inbound = [[[names[source], 0, 0, {}] for source in _sources(layer["inbound_nodes"])]]
        nodes = inbound if kind != "InputLayer" else []
        layers.append({"class_name": kind, "name": name, "config": config, "inbound_nodes": nodes})
    ends = [[[layers[end]["name"], 0, 0]] for end in (0, -1)]
    config = {"name": network.name, "trainable": True, "layers": layers}
    return {
        "class_name": "Functional",
        "config": config | {"input_layers": ends[0], "output_layers": ends[1]},
    }


def _sources(node: Any) -> list[str]:
    """Names of the layers whose answers a layer gets, from the arguments in its configuration."""
    if isinstance(node, dict):
        if "keras_history" in node:
            return [node["keras_history"][0]]
        node = list(node.values())
    return [name for one in node for name in _sources(one)] if isinstance(node, list | tuple) else []
