"""Minds the process that runs TensorFlow for the model server: apart from it, started anew when it dies.

A tensor of a wrong rank, a broken model or want of memory can end TensorFlow's whole process
(docs/spec/tensorflow_serving.md#process-death).
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np

from lesions.errors import WorkError
from lesions.progress import LOGGER
from serving import device
from serving.rest_api.errors import RestError
from serving.rest_api.signature import Signature
from serving.worker_child import Child, ChildDiedError
from serving.worker_process import Key

log = logging.getLogger(LOGGER)
START_SECONDS = 300.0  # to import TensorFlow on a busy machine
LOAD_SECONDS = 300.0
LONGEST_PAUSE = (
    30.0  # between a death and the next start; the first is half a second, then twice as much each time
)
STEADY_SECONDS = 60.0  # after so long without a death the pauses begin anew
RETRY_AFTER = 10  # seconds, about what a start takes


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
        self._lock, self._up = asyncio.Lock(), asyncio.Event()
        self._child: Child | None = None
        self._restart: asyncio.Task[None] | None = None
        self._deaths, self._since, self._closed = 0, 0.0, False

    @property
    def up(self) -> bool:
        """Whether it can be asked."""
        return self._up.is_set()

    async def start(self) -> None:
        """Starts the process and waits for it. Raises WorkError where it does not come up."""
        try:
            await self._spawn()
        except (ChildDiedError, RestError):
            raise WorkError("the process for the models does not start; see the messages above") from None
        self._up.set()

    async def close(self) -> None:
        """Ends the process."""
        self._closed = True
        self._up.clear()
        if self._restart:
            self._restart.cancel()
        child, self._child = self._child, None
        if child:
            child.end()

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
            except ChildDiedError:
                continue
        raise RestError(
            "INTERNAL", "The process with the models died of this request twice; do not send it again"
        )

    async def _once(self, message: tuple[Any, ...], seconds: float) -> Any:
        async with self._lock:
            if not self._up.is_set():
                raise RestError("UNAVAILABLE", "The process with the models is starting; try again")
            child = self._child
            try:
                return await self._ask(message, seconds)
            except ChildDiedError:
                self._ended(child)
                raise

    async def _wait(self) -> None:
        try:
            await asyncio.wait_for(self._up.wait(), START_SECONDS)
        except asyncio.TimeoutError:
            raise RestError("UNAVAILABLE", "The process with the models does not come back") from None

    async def _spawn(self) -> None:
        self._child = Child(self.precision, self._ended)
        await self._child.up(START_SECONDS)
        self._since = time.monotonic()

    async def _ask(self, message: tuple[Any, ...], seconds: float) -> Any:
        if self._child is None:
            raise ChildDiedError
        return await self._child.ask(message, seconds)

    def _ended(self, child: Child | None) -> None:
        """Called when it is gone, however that was found out; only the first call counts."""
        if child is None or child is not self._child or self._closed:
            return
        self._up.clear()
        self._child = None
        child.end()
        pause = min(0.5 * 2**self._deaths, LONGEST_PAUSE)
        self._deaths, self.restarts = self._deaths + 1, self.restarts + 1
        log.warning("the process with the models ended (%s); a new one in %g s", child.exit_status, pause)
        self._restart = asyncio.get_running_loop().create_task(self._again(pause))

    async def _again(self, pause: float) -> None:
        await asyncio.sleep(pause)
        try:
            async with self._lock:
                await self._spawn()
                for key, folder in list(self._models.items()):
                    await self._reload(key, folder)
        except (ChildDiedError, RestError):
            self._ended(self._child)  # and so on, after a longer pause
            return
        self._up.set()

    async def _reload(self, key: Key, folder: Path) -> None:
        try:
            await self._ask(("load", key, str(folder)), LOAD_SECONDS)
        except RestError as error:  # its files are gone or broken by now
            log.warning("%s %d is lost: %s", *key, error.message)
            self._models.pop(key, None)
