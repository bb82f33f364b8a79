"""Minds the process that runs TensorFlow for the model server: apart from it, started anew when it dies.

A tensor of a wrong rank, a broken model or want of memory can end TensorFlow's whole process (serving.md, 5.4).
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from lesions.errors import WorkError
from lesions.progress import LOGGER
from serving import device
from serving.rest_api.errors import RestError
from serving.rest_api.signature import Signature
from serving.worker_process import Key, main

log = logging.getLogger(LOGGER)
START_SECONDS = 300.0  # to import TensorFlow on a busy machine
LOAD_SECONDS = 300.0
LONGEST_PAUSE = (
    30.0  # between a death and the next start; the first is half a second, then twice as much each time
)
STEADY_SECONDS = 60.0  # after so long without a death the pauses begin anew
RETRY_AFTER = 10  # seconds, about what a start takes


class WorkerDiedError(Exception):
    """The process ended in the midst of something."""


class Worker:
    """The process, seen from the server's event loop. One thing at a time: TensorFlow uses all processors anyway."""

    def __init__(self, timeout: float = 120.0, precision: str = device.FLOAT32):
        """Starts nothing yet.

        Args:
            timeout: Seconds that a prediction may take; then its process is ended too.
            precision: One of `device.PRECISIONS`.
        """
        self.timeout, self.precision, self.restarts = timeout, precision, 0
        self._models: dict[Key, Path] = {}
        self._thread = ThreadPoolExecutor(1, "worker")
        self._lock, self._up = asyncio.Lock(), asyncio.Event()
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._restart: asyncio.Task[None] | None = None
        self._deaths, self._since, self._closed = 0, 0.0, False

    @property
    def up(self) -> bool:
        """Whether it can be asked."""
        return self._up.is_set()

    @property
    def pid(self) -> int | None:
        """Of the process, None while there is none."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Starts the process and waits for it. Raises WorkError where it does not come up."""
        try:
            await self._spawn()
        except (WorkerDiedError, RestError):
            raise WorkError("the process for the models does not start; see the messages above") from None
        self._up.set()

    async def close(self) -> None:
        """Ends the process."""
        self._closed = True
        self._up.clear()
        if self._restart:
            self._restart.cancel()
        process, self._process = self._process, None
        if process:
            asyncio.get_running_loop().remove_reader(process.sentinel)
            process.kill()
            process.join()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def load(self, name: str, version: int, folder: Path) -> dict[str, Signature]:
        """Loads a model and returns its signatures. Raises RestError where that fails or ends the process twice."""
        found: dict[str, Signature] = await self._twice(("load", (name, version), str(folder)), LOAD_SECONDS)
        self._models[name, version] = folder
        return found

    async def unload(self, name: str, version: int) -> None:
        """Frees a model."""
        self._models.pop((name, version), None)
        await self._twice(("unload", (name, version)), LOAD_SECONDS)

    async def predict(
        self, name: str, version: int, signature: str, inputs: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Raises:
            RestError: It failed; it took too long; the process is not up, or died of this request twice.
        """
        answer: dict[str, np.ndarray] = await self._twice(
            ("predict", (name, version), signature, inputs), self.timeout
        )
        if time.monotonic() - self._since > STEADY_SECONDS:
            self._deaths = 0
        return answer

    async def _twice(self, message: tuple[Any, ...], seconds: float) -> Any:
        for attempt in range(2):
            if attempt:  # perhaps it only died at the same time
                await self._wait()
            try:
                return await self._once(message, seconds)
            except WorkerDiedError:
                continue
        raise RestError(
            "INTERNAL", "The process with the models died of this request twice; do not send it again"
        )

    async def _once(self, message: tuple[Any, ...], seconds: float) -> Any:
        async with self._lock:
            if not self._up.is_set():
                raise RestError("UNAVAILABLE", "The process with the models is starting; try again")
            process = self._process
            try:
                return await self._ask(message, seconds)
            except WorkerDiedError:
                self._ended(process)
                raise

    async def _wait(self) -> None:
        try:
            await asyncio.wait_for(self._up.wait(), START_SECONDS)
        except asyncio.TimeoutError:
            raise RestError("UNAVAILABLE", "The process with the models does not come back") from None

    async def _spawn(self) -> None:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=main, args=(theirs, self.precision), daemon=True, name="raxnet-models"
        )
        process.start()
        theirs.close()  # so that its death closes the pipe
        self._process, self._pipe = process, ours
        asyncio.get_running_loop().add_reader(process.sentinel, self._ended, process)
        await self._ask(None, START_SECONDS)
        self._since = time.monotonic()

    async def _ask(self, message: tuple[Any, ...] | None, seconds: float) -> Any:
        process, pipe, loop = self._process, self._pipe, asyncio.get_running_loop()
        if process is None or pipe is None:
            raise WorkerDiedError
        return await loop.run_in_executor(self._thread, _exchange, process, pipe, message, seconds)

    def _ended(self, process: BaseProcess | None) -> None:
        """Called when it is gone, however that was found out; only the first call counts."""
        if process is None or process is not self._process or self._closed:
            return
        asyncio.get_running_loop().remove_reader(process.sentinel)
        self._up.clear()
        self._process = None
        process.kill()
        process.join(1)
        pause = min(0.5 * 2**self._deaths, LONGEST_PAUSE)
        self._deaths, self.restarts = self._deaths + 1, self.restarts + 1
        log.warning("the process with the models ended (%s); a new one in %g s", process.exitcode, pause)
        self._restart = asyncio.get_running_loop().create_task(self._again(pause))

    async def _again(self, pause: float) -> None:
        await asyncio.sleep(pause)
        try:
            async with self._lock:
                await self._spawn()
                for key, folder in list(self._models.items()):
                    await self._reload(key, folder)
        except (WorkerDiedError, RestError):
            self._ended(self._process)  # and so on, after a longer pause
            return
        self._up.set()

    async def _reload(self, key: Key, folder: Path) -> None:
        try:
            await self._ask(("load", key, str(folder)), LOAD_SECONDS)
        except RestError as error:  # its files are gone or broken by now
            log.warning("%s %d is lost: %s", *key, error.message)
            self._models.pop(key, None)


def _exchange(process: BaseProcess, pipe: Connection, message: Any, seconds: float) -> Any:
    """Sends a message, if any, and waits for the answer; in a thread."""
    try:
        if message is not None:
            pipe.send(message)
        if not pipe.poll(seconds):
            process.kill()
            raise RestError("DEADLINE_EXCEEDED", "Timed out waiting for notification")
        answer = pipe.recv()
    except (EOFError, OSError):
        raise WorkerDiedError from None
    if isinstance(answer, RestError):
        raise answer
    return answer
