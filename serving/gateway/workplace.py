"""Where volumes are worked on: so many at a time, whoever asks, so that memory has a bound."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving.gateway import results, segmenting
from serving.gateway.models import Models
from serving.gateway.refusal import Refusal
from serving.gateway.segmenting import Task

Summary = dict[str, Any]
MOST_UPLOADS = 32  # at a time: each takes its size on the disk, and a slow one its time


class Workplace:
    """Takes tasks in the order in which they come."""

    def __init__(self, models: Models, volumes: int = 1, queue: int = 8):
        """Args: models: What works. volumes: How many at a time. queue: How many may wait besides."""
        self.models, self.volumes, self.queue = models, volumes, queue
        self.running = self.waiting = 0
        self.on_free: Callable[[], None] = lambda: None  # called when a place is free
        self._uploads = 0
        self._free = asyncio.Semaphore(volumes)
        self._threads = ThreadPoolExecutor(volumes, "volume")

    def require_place(self) -> None:
        """Raises Refusal (429) where so many wait already that no more is taken."""
        if self.waiting >= self.queue:
            raise Refusal(429, f"{self.waiting} scans are waiting already; come back later")

    @contextmanager
    def uploading(self) -> Iterator[None]:
        """While a scan is sent. Raises Refusal (429) where too many are."""
        if self._uploads >= MOST_UPLOADS:
            raise Refusal(429, f"{MOST_UPLOADS} scans are being sent already; come back later")
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    async def do(self, task: Task, outputs: Sequence[str], folder: Path) -> Summary:
        """Segments a scan when its turn comes and writes results (see `results.write`); cancelled, it stops soon.

        Raises:
            InputError: The scan cannot be used.
            WorkError: The models failed, or are not there.
        """
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            return await self._in_thread(task, lambda: self._work(task, outputs, folder))
        finally:
            self.running -= 1
            self._free.release()
            self.on_free()

    def _work(self, task: Task, outputs: Sequence[str], folder: Path) -> Summary:
        done = segmenting.run(task, self.models)
        return results.write(done, task, self.models, outputs, folder)

    async def _in_thread(self, task: Task, work: Callable[[], Summary]) -> Summary:
        run = contextvars.copy_context().run
        doing = asyncio.get_running_loop().run_in_executor(self._threads, run, work)
        try:
            return await asyncio.shield(doing)
        except asyncio.CancelledError:
            task.stopped.set()
            await asyncio.wait({doing})  # the place is free when the memory is
            if doing.done() and not doing.cancelled():
                doing.exception()  # nobody asks for it any more
            raise

    def close(self) -> None:
        """No more work."""
        self._threads.shutdown(wait=False, cancel_futures=True)
