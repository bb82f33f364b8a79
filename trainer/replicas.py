"""Several devices that share each batch and compute what one would.

Losses are ratios of sums over the whole batch, so the sums, not the ratios, are what is added up over the devices; so
are the statistics of batch normalization.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from lesions.errors import InputError
from trainer.losses import BATCH, Over


def scope(replicas: int) -> AbstractContextManager[Any]:
    """Under which a network that trains on so many devices is built and compiled.

    Raises:
        InputError: There are fewer.
    """
    return nullcontext() if replicas == 1 else tf.distribute.MirroredStrategy(devices(replicas)).scope()


def devices(replicas: int) -> list[str]:
    """Names of so many devices: GPUs, or processors where there is no GPU.

    Raises:
        InputError: There are fewer.
    """
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(found) < replicas:
        kind = found[0].device_type
        raise InputError(
            f"training.replicas: {replicas}, but TensorFlow finds {len(found)} {kind}; lower it to that"
        )
    return [device.name for device in found[:replicas]]


def over(replicas: int) -> Over:
    """How a loss sums over a batch that so many devices share."""
    return BATCH if replicas == 1 else Over(_sum, _mean)


def synchronize(model: keras.Model) -> None:
    """Makes batch normalization use the statistics of the whole batch."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


def _sum(values: Any) -> Any:
    return _everywhere(ops.sum(values))


def _mean(values: Any) -> Any:
    return _sum(values) / _everywhere(ops.cast(ops.size(values), "float32"))


def _everywhere(value: Any) -> Any:
    """The sum of a number over the devices; its gradient is summed over them likewise."""
    context = tf.distribute.get_replica_context()
    return value if context is None else context.all_reduce(tf.distribute.ReduceOp.SUM, value)
