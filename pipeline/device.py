"""Which device computes; said first in every run."""

from __future__ import annotations

from lesions.errors import InputError
from serving.device import describe, has_bfloat16


def choose(device: str) -> str:
    """Makes TensorFlow use what is asked for.

    Args:
        device: auto, cpu or gpu.

    Returns:
        A line that names it.

    Raises:
        InputError: gpu, and there is none that TensorFlow can use.
    """
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not found:
        raise InputError(
            "device: gpu, but TensorFlow finds none; check nvidia-smi, run the set-up again so that it installs CUDA, "
            "or set device: auto"
        )
    if device == "cpu" and found:
        tf.config.set_visible_devices([], "GPU")
    for gpu in found if device != "cpu" else []:
        tf.config.experimental.set_memory_growth(gpu, True)
    return describe()


def quickest_precision() -> str:
    """mixed_bfloat16 where a processor computes that multiplies in it by itself (AVX-512 BF16, AMX), else float32.

    Other processors imitate it, many times slower.
    """
    return "mixed_bfloat16" if has_bfloat16() else "float32"
