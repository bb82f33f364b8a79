"""Several devices that share each batch and compute what one would.

Losses are ratios of sums over the whole batch, so the sums, not the ratios, are what is added up over the devices; so
are the statistics of batch normalization. The devices are those of one process, or of several (`trainer.workers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from lesions.errors import InputError
from trainer.losses import BATCH, Over

Strategy: TypeAlias = tf.distribute.Strategy


@cache
def strategy(replicas: int) -> Strategy:
    """Under whose scope a network that trains on so many devices of this process is built and compiled.

    One for all networks: TensorFlow tells the sums of one strategy apart, those of two it mixes up.

    Raises:
        InputError: There are fewer.
    """
    return (
        tf.distribute.get_strategy() if replicas == 1 else tf.distribute.MirroredStrategy(devices(replicas))
    )


def devices(replicas: int) -> list[str]:
    """Names of so many devices: GPUs, or processors where there is no GPU.

    Raises:
        InputError: There are fewer.
    """
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(found) < replicas:
        raise too_few(replicas, len(found), found[0].device_type)
    return [device.name for device in found[:replicas]]


def too_few(replicas: int, found: int, kind: str) -> InputError:
    """Says that there are fewer devices of a kind than are to be used."""
    return InputError(f"training.replicas: {replicas}, but TensorFlow finds {found} {kind}; lower it to that")


def over(replicas: int) -> Over:
    """How a loss sums over a batch that so many devices share."""
    return BATCH if replicas == 1 else Over(_sum, _mean)


def synchronize(model: keras.Model) -> None:
    """Makes batch normalization use the statistics of the whole batch."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


def parts(plan: Sequence[np.ndarray], worker: int, workers: int, replicas: int) -> list[np.ndarray]:
    """What one process reads of a plan: of each batch a part for each of its devices, one after the other.

    A batch is dealt out in turn, since its lesion slices come first: every device gets some of them. Parts differ by
    one slice at most; of a batch with fewer slices than devices some are empty.

    Args:
        plan: Record numbers of each batch.
        worker: Number of the process, from 0.
        workers: How many there are.
        replicas: Devices of all of them together.
    """
    each = replicas // workers
    return [batch[d::replicas] for batch in plan for d in range(worker * each, (worker + 1) * each)]


def everywhere(value: Any) -> Any:
    """The sum of a number over the devices; its gradient is summed over them likewise."""
    context = tf.distribute.get_replica_context()
    return value if context is None else context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def _sum(values: Any) -> Any:
    return everywhere(ops.sum(values))


def _mean(values: Any) -> Any:
    return _sum(values) / everywhere(ops.cast(ops.size(values), "float32"))
