"""One volume, from its file to its results, by the models of one release."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lesions.grid import Volume
from lesions.progress import LOGGER
from serving.gateway import scan
from serving.gateway.models import Models, Pinned
from serving.gateway.options import Options
from serving.gateway.refusal import GoneError
from serving.rest_client import NotReadyError, VersionGoneError
from serving.segmenter import Segmentation, segment

log = logging.getLogger(LOGGER)
WAIT_SECONDS = 60.0  # for models that went away in the midst of a volume
POLL_SECONDS = 1.0
request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")


@dataclass
class Task:
    """Work on one volume, watched and stopped from outside its thread.

    Attributes:
        path: The judged scan.
        options: The caller's.
        tell: Called with (stage, done, total) as it goes on.
        stopped: Set where nobody waits any more.
    """

    path: Path
    options: Options
    tell: Callable[[str, int, int], None] = lambda stage, done, total: None
    stopped: threading.Event = field(default_factory=threading.Event)

    def progress(self, stage: str, done: int = 0, total: int = 0) -> None:
        """Tells how far it is. Raises GoneError where it is to stop."""
        if self.stopped.is_set():
            raise GoneError
        self.tell(stage, done, total)


@dataclass(frozen=True, eq=False)
class Done:
    """A segmented scan.

    Attributes:
        scan: As it was read.
        segmentation: What was found.
        models: That found it.
        seconds: That took.
    """

    scan: Volume
    segmentation: Segmentation
    models: Pinned
    seconds: float


def run(task: Task, models: Models) -> Done:
    """Segments a scan by one release; where that goes away meanwhile, once more by the next.

    Raises:
        InputError: The scan cannot be used.
        WorkError: The models failed; NotReadyError where they are not there.
        GoneError: The task was stopped.
    """
    start = time.monotonic()
    task.progress("reading")
    pinned = models.pin()
    volume = scan.read(task.path)
    try:
        found = _segment(volume, pinned, task)
    except (VersionGoneError, NotReadyError) as error:
        log.warning("[%s] the volume is started again: %s", request_id.get(), error)
        pinned = _again(models, task)
        found = _segment(volume, pinned, task)
    return Done(volume, found, pinned, time.monotonic() - start)


def _segment(volume: Volume, pinned: Pinned, task: Task) -> Segmentation:
    options = task.options
    task.progress("registering" if options.method else "checking the position")
    return segment(
        volume,
        pinned,
        options.rule,
        options.threshold,
        lambda done, total: task.progress("segmenting", done, total),
        options.flip,
        options.method,
        options.strict,
    )


def _again(models: Models, task: Task) -> Pinned:
    """The next release, once it is there."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        task.progress("waiting for the models")
        try:
            return models.pin()
        except NotReadyError:
            if time.monotonic() > end:
                raise
        time.sleep(POLL_SECONDS)
