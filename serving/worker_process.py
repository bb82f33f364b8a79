"""The process that loads models and runs them, told what to do through a pipe by `serving.worker`."""

from __future__ import annotations

import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from serving import device
from serving.rest_api.errors import CODES, RestError
from serving.rest_api.signature import Signature, TensorInfo

Key = tuple[str, int]  # model and version


def main(pipe: Connection, precision: str) -> None:
    """What the process does: answers one message after the other until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server's to handle
    models: dict[Key, Any] = {}
    device.compute_in(precision)
    pipe.send("up")
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            return
        try:
            answer = _ACTIONS[message[0]](models, *message[1:])
        except RestError as error:
            answer = error
        except Exception as error:  # TensorFlow raises a dozen kinds
            answer = _translated(error)
        pipe.send(answer)


def _load(models: dict[Key, Any], key: Key, folder: str) -> dict[str, Signature]:
    found = read_signatures(Path(folder))
    models[key] = device.tensorflow().saved_model.load(folder)
    return found


def _unload(models: dict[Key, Any], key: Key) -> None:
    models.pop(key, None)


def _predict(
    models: dict[Key, Any], key: Key, signature: str, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    tf = device.tensorflow()
    if key not in models:
        raise RestError("NOT_FOUND", f"Servable not found for request: Specific({key[0]}, {key[1]})")
    answer = models[key].signatures[signature](**{name: tf.constant(v) for name, v in inputs.items()})
    return {name: _array(value.numpy()) for name, value in sorted(answer.items())}


def _array(value: Any) -> np.ndarray:
    return np.array(value, object) if isinstance(value, bytes) else np.asarray(value)


_ACTIONS: dict[str, Callable[..., Any]] = {"load": _load, "unload": _unload, "predict": _predict}


def _translated(error: Exception) -> RestError:
    """An exception of TensorFlow's with its own code; others mean that the model or the request does not fit."""
    code = getattr(error, "error_code", None)
    name = CODES[code] if isinstance(code, int) and 0 < code < len(CODES) else "INVALID_ARGUMENT"
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    return RestError(name, text)


def read_signatures(folder: Path) -> dict[str, Signature]:
    """The signatures of a SavedModel, from its file, by name."""
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((folder / "saved_model.pb").read_bytes())
        graph = next(g for g in model.meta_graphs if "serve" in g.meta_info_def.tags)
    except (OSError, StopIteration, ValueError) as error:
        raise RestError("NOT_FOUND", f"{folder}: no readable SavedModel for serving ({error})") from None
    except Exception as error:  # protobuf's DecodeError, which is of another class in each of its versions
        raise RestError("DATA_LOSS", f"{folder}/saved_model.pb: damaged ({error})") from None
    return {
        name: Signature(_infos(one.inputs), _infos(one.outputs), one.method_name)
        for name, one in sorted(graph.signature_def.items())
    }


def _infos(tensors: Any) -> dict[str, TensorInfo]:
    from tensorflow.core.framework import types_pb2

    found = {}
    for name, info in sorted(tensors.items()):
        shape = info.tensor_shape
        sizes = None if shape.unknown_rank else tuple(dim.size for dim in shape.dim)
        found[name] = TensorInfo(types_pb2.DataType.Name(info.dtype), sizes, info.name)
    return found
