"""Several processes, on as many machines, that train one network together.

TensorFlow's runtime holds them together: a process that dies is missed after ten seconds without a sign of life, and
what the others wait for then ends in an error.
"""

from __future__ import annotations

import faulthandler
import logging
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from lesions.errors import WorkError
from lesions.progress import LOGGER
from trainer import rendezvous, replicas
from trainer.tf_config import Cluster

log = logging.getLogger(LOGGER)
STARTING = 300  # seconds that TensorFlow's runtime may take, all being there
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)


@dataclass(frozen=True)
class Team:
    """This process among those that train together.

    Attributes:
        cluster: All of them.
        strategy: Under whose scope the network is built.
    """

    cluster: Cluster
    strategy: replicas.Strategy

    @property
    def chief(self) -> bool:
        """Whether this process writes what is written."""
        return self.cluster.number == 0

    def agree(self, **numbers: int) -> None:
        """Waits for the others, and makes sure that they have the same numbers, each below 2^32.

        Raises:
            WorkError: They have not; says which differ.
        """
        mine = np.array(list(numbers.values()), np.int64)
        every = self.strategy.run(lambda: tf.constant(mine))
        total = self.strategy.reduce(tf.distribute.ReduceOp.SUM, every, axis=None).numpy()
        same = total == mine * self.strategy.num_replicas_in_sync
        if not same.all():
            different = ", ".join(np.array(list(numbers))[~same])
            raise WorkError(
                f"the workers differ in: {different}; start all with the same configuration, data and version, and a "
                "root that all of them see"
            )

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Says which worker was lost where TensorFlow gives up because of it."""
        try:
            yield
        except _LOST as error:
            raise WorkError(
                f"lost {self._missed(str(error))}; start all workers again: they go on after the last completed epoch"
            ) from error

    def _missed(self, said: str) -> str:
        """Names the worker that TensorFlow's message is about."""
        found = re.search(r"/job:(chief|worker)/(?:replica:\d+/)?task:(\d+)", said)
        if not found:
            return f"another worker ({said.strip().splitlines()[0]})"
        first = len(self.cluster.addresses) - len(
            self.strategy.cluster_resolver.cluster_spec().job_tasks("worker")
        )
        number = int(found[2]) + (first if found[1] == "worker" else 0)
        return f"worker {number} ({self.cluster.addresses[number]})"


def join(cluster: Cluster, devices: int, wait: float) -> Team:
    """Finds the other processes; to be called before TensorFlow is used for anything else.

    Args:
        cluster: All of them, as TF_CONFIG has it.
        devices: GPUs that each uses.
        wait: At most so many seconds.

    Raises:
        InputError: This machine has fewer GPUs.
        WorkError: Somebody did not come.
    """
    gpus = tf.config.get_visible_devices("GPU")
    if devices > max(1, len(gpus)):
        raise replicas.too_few(devices, max(1, len(gpus)), "GPU" if gpus else "CPU")
    if gpus:
        tf.config.set_visible_devices(gpus[:devices], "GPU")
    me, count = cluster.number, len(cluster.addresses)
    log.info("worker %d of %d, at %s: waiting for the others", me, count, cluster.addresses[me])
    rendezvous.meet(cluster, wait)
    # TensorFlow holds Python's lock meanwhile; nothing else could end it if another worker dies just now.
    faulthandler.dump_traceback_later(STARTING, exit=True)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    faulthandler.cancel_dump_traceback_later()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # TensorFlow's handler would only take note of it
    log.info("worker %d: all %d are here, %d devices", me, count, strategy.num_replicas_in_sync)
    return Team(cluster, strategy)
