"""Models of Keras 2 in HDF5, as the method's authors publish theirs, onto our network.

Keras 3 cannot load them (docs/spec/method.md#weights-files). They are read by h5py alone: what a file holds
is data, none of it is run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from lesions.errors import InputError
from lesions.grid import ATLAS_SHAPE
from lesions.slices import PLANES, canvas, slice_shape

NETWORK = "raxnet"
CARD = "raxnet_card"  # attribute of files that `keras2_config.write` wrote
ZIP = b"PK"  # how a .keras file begins
REMEDY = "give a model of the method's own network, saved by Keras 2 (`model.save('axial.h5')`)"

# What changes a layer's answer besides its weights, which are held against ours by number and shape.
_FILTER = ("kernel_size", "strides", "padding", "dilation_rate", "activation")
ESSENCE = {
    "InputLayer": (),
    "Conv2D": _FILTER,
    "SeparableConv2D": _FILTER,
    "Conv2DTranspose": _FILTER,
    "BatchNormalization": ("epsilon",),
    "MaxPooling2D": ("pool_size", "strides", "padding"),
    "UpSampling2D": ("size", "interpolation"),
    "ReLU": ("max_value", "negative_slope"),
    "Add": (),
}


@dataclass(frozen=True, eq=False)
class SavedNetwork:
    """What a file holds.

    Attributes:
        path: The file.
        weights: By layer in the order of the file, which is that of the network's own `get_weights`: float32, finite.
        layers: Of the configuration: class and settings; empty in a file of `save_weights`, which has none.
        canvas: (rows, columns) of the input; None where the file does not say it.
        loss: It was trained with; "" where the file does not say it.
        version: Of the Keras that wrote it.
        card: Of a file that `raxnet export h5` wrote, else "".
    """

    path: Path
    weights: list[np.ndarray]
    layers: list[dict[str, Any]]
    canvas: tuple[int, int] | None
    loss: str
    version: str
    card: str

    @property
    def plane(self) -> str:
        """By the size of its input; by the file's name where it does not say that.

        Raises:
            InputError: It is no plane's.
        """
        sizes = {
            plane: canvas(ATLAS_SHAPE, plane).padded(*slice_shape(ATLAS_SHAPE, plane)) for plane in PLANES
        }
        if self.canvas is None:
            if self.named:
                return self.named
            raise InputError(
                f"{self.path}: holds weights without the size of the input, so its name must say the plane; "
                f"rename it to one of {', '.join(f'{plane}.h5' for plane in PLANES)}"
            )
        for plane, size in sizes.items():
            if size == self.canvas:
                return plane
        wanted = ", ".join(f"{rows} x {columns} ({plane})" for plane, (rows, columns) in sizes.items())
        found = " x ".join(map(str, self.canvas))
        raise InputError(f"{self.path}: its input must be one of {wanted}, found {found}; {REMEDY}")

    @property
    def named(self) -> str:
        """The plane that the file's name says, "" where it says none or several."""
        said = [plane for plane in PLANES if plane in self.path.name.lower()]
        return said[0] if len(said) == 1 else ""

    def fill(self, network: keras.Model) -> None:
        """Gives a network these weights.

        Raises:
            InputError: They are not of this network.
        """
        ours = [(weight.name, tuple(weight.shape)) for layer in network.layers for weight in layer.weights]
        if len(ours) != len(self.weights):
            raise self._another(f"{len(ours)} arrays of weights", len(self.weights))
        for number, ((name, shape), array) in enumerate(zip(ours, self.weights, strict=True), 1):
            if array.shape != shape:
                raise self._another(f"array {number}, {name}, of shape {shape}", array.shape)
        if self.layers:
            wanted = essences(json.loads(json.dumps(network.get_config()["layers"])))
            found = essences(self.layers)
            for one in (wanted - found) or (found - wanted):
                raise self._another(f"{wanted[one]} x {_words(one)}", found[one])
        arrays = iter(self.weights)
        for layer in network.layers:
            layer.set_weights([next(arrays) for _ in layer.weights])

    def _another(self, expected: str, found: object) -> InputError:
        return InputError(f"{self.path}: another network; expected {expected}, found {found}; {REMEDY}")


def essences(layers: Sequence[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """How many layers there are of each class and settings, whichever Keras wrote them."""
    found: Counter[tuple[str, str]] = Counter()
    for layer in layers:
        kind, config = layer["class_name"], layer["config"]
        if kind == "Activation" and config.get("activation") == "relu":
            kind, config = "ReLU", {"max_value": None, "negative_slope": 0.0}
        settings = {key: config.get(key) for key in ESSENCE.get(kind, ())}
        if settings.get("kernel_size") == [1, 1]:
            del settings["padding"]  # there is none to do
        found[kind, json.dumps(settings)] += 1
    return found


def _words(essence: tuple[str, str]) -> str:
    kind, settings = essence
    return " ".join([kind, *(f"{key}={value}" for key, value in json.loads(settings).items())])


def read(path: Path) -> SavedNetwork:
    """Reads a file of `model.save` or `save_weights` of Keras 2.

    Raises:
        InputError: It is none, or damaged.
    """
    path = Path(path)
    _require_hdf5(path)
    try:
        with h5py.File(path, "r") as file:
            return _read(path, file)
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"{path}: truncated or damaged ({_line(error)}); copy or download it again"
        ) from None


def _require_hdf5(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    with path.open("rb") as stream:
        start = stream.read(len(ZIP))
    if not start:
        raise InputError(f"{path}: empty; copy or download it again")
    if start == ZIP:
        raise InputError(f"{path}: must be HDF5, found a zip archive, as a .keras file is; {REMEDY}")
    if not h5py.is_hdf5(path):
        raise InputError(f"{path}: must be HDF5, found something else; {REMEDY}")


def _read(path: Path, file: h5py.File) -> SavedNetwork:
    group = file.get("model_weights", file)  # a file of `save_weights` has its layers at the root
    if "layer_names" not in group.attrs:
        raise InputError(f"{path}: HDF5, but no model of Keras 2 (no `layer_names`); {REMEDY}")
    model = _json(file, "model_config").get("config", {})
    described = model["layers"] if model else []
    layers = [{"class_name": str(one["class_name"]), "config": dict(one["config"])} for one in described]
    loss = _json(file, "training_config").get("loss")
    return SavedNetwork(
        path=path,
        weights=_weights(path, group),
        layers=layers,
        canvas=_canvas(layers),
        loss=loss if isinstance(loss, str) else "",
        version=_text(group.attrs.get("keras_version", "")),
        card=_text(file.attrs.get(CARD, "")),
    )


def _weights(path: Path, group: h5py.Group) -> list[np.ndarray]:
    """All arrays, none of which is read that is larger than the whole network may be."""
    found, limit = [], 2 * 4_837_473  # twice RAX-Net's (docs/spec/method.md#parameters)
    for layer in group.attrs["layer_names"]:
        one = group[_text(layer)]
        for name in one.attrs["weight_names"]:
            array = one[_text(name)]
            limit -= array.size
            if limit < 0:
                raise InputError(f"{path}: another network; more weights than the method's own has; {REMEDY}")
            found.append(np.asarray(array, np.float32))
            if not np.isfinite(found[-1]).all():
                raise InputError(f"{path}: weights must be finite, found others in {_text(name)}; {REMEDY}")
    return found


def _canvas(layers: Sequence[dict[str, Any]]) -> tuple[int, int] | None:
    for layer in layers:
        shape = layer["config"].get("batch_input_shape") or layer["config"].get("batch_shape")
        if shape:
            _, rows, columns, _ = shape
            return (int(rows), int(columns)) if rows and columns else None
    return None


def _json(file: h5py.File, name: str) -> dict[str, Any]:
    """An attribute's JSON; {} where it is not there."""
    try:
        content = json.loads(_text(file.attrs.get(name, "{}")))
    except RecursionError:
        raise ValueError(f"{name} is nested too deep") from None
    if not isinstance(content, dict):
        raise ValueError(f"{name} is no object")
    return content


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]
