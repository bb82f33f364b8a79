"""One process with the models, and the pipe to it, from its start to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from serving.rest_api.errors import RestError
from serving.worker_process import main


class ChildDiedError(Exception):
    """The process ended in the midst of something."""


class Child:
    """The process, seen from the event loop."""

    def __init__(self, precision: str, ended: Callable[[Child], None]):
        """Starts it; it cannot be asked before it has said that it is up.

        Args:
            precision: One of `device.PRECISIONS`.
            ended: Called when it is gone, unless that was our doing.
        """
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=main, args=(theirs, precision), daemon=True, name="raxnet-models"
        )
        self._process.start()
        theirs.close()  # so that its death closes the pipe
        self._thread = ThreadPoolExecutor(1, "worker")
        asyncio.get_running_loop().add_reader(self._process.sentinel, ended, self)

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.exitcode

    async def up(self, seconds: float) -> None:
        """Waits until it can be asked. Raises as `ask`."""
        await self.ask(None, seconds)

    async def ask(self, message: tuple[Any, ...] | None, seconds: float) -> Any:
        """Its answer to a message; one at a time.

        Raises:
            ChildDiedError: It ended meanwhile.
            RestError: It said so, or took longer; then it is ended.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._thread, _exchange, self._process, self._pipe, message, seconds
        )

    def end(self) -> None:
        """Ends it, whatever it does."""
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._process.kill()
        self._process.join(1)
        self._thread.shutdown(wait=False, cancel_futures=True)


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
        raise ChildDiedError from None
    if isinstance(answer, RestError):
        raise answer
    return answer
