"""TensorFlow, imported when it is needed, and the device that it computes on."""

from __future__ import annotations

import os
from types import ModuleType


def tensorflow() -> ModuleType:
    """Imports TensorFlow, without its start-up messages; they tell a user nothing."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow

    return tensorflow


def gpus() -> list[str]:
    """Names of the GPUs that TensorFlow can use, for example ["NVIDIA H100"]; empty on a CPU alone."""
    tf = tensorflow()
    devices = tf.config.get_visible_devices("GPU")
    return [tf.config.experimental.get_device_details(d).get("device_name", d.name) for d in devices]


def describe() -> str:
    """One word for a run's first line: "cpu", or the GPUs' name ("2 x NVIDIA H100")."""
    names = gpus()
    if not names:
        return "cpu"
    return names[0] if len(names) == 1 else f"{len(names)} x {names[0]}"
