"""Runs an application under uvicorn until SIGTERM, and then to the end of what it is answering."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Protocol

import uvicorn
from starlette.types import Receive, Scope, Send

from lesions.errors import InputError

KEEP_ALIVE_SECONDS = 30
MOST_CONNECTIONS = 128
HEADER_BYTES = 128 << 10  # of a request's first line and headers together


class Application(Protocol):
    """What can be run: an ASGI application with something to do before and after."""

    async def start(self) -> None:
        """Called before the port opens."""

    async def close(self) -> None:
        """Called when all is answered."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""


def bind(host: str, port: int) -> socket.socket:
    """Takes a port, which stays closed until the application is ready; 0 takes any.

    Raises:
        InputError: It cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
    except (OSError, OverflowError) as error:
        taken.close()
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{host} port {port}: cannot be used ({reason}); choose another") from None
    return taken


def address(taken: socket.socket) -> str:
    """http://host:port of a socket."""
    host, port = taken.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(application: Application, taken: socket.socket, ready: Callable[[], None], grace: int = 60) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        application: Started before the port opens; closed at the end.
        taken: From `bind`.
        ready: Called when the port is open.
        grace: Seconds that requests may still take after the signal.
    """
    # uvicorn raises the signal again when all is answered: then, and before, it means a clean end.
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        asyncio.run(_serve(application, taken, ready, grace))
    finally:
        signal.signal(signal.SIGTERM, before)
        taken.close()


async def _serve(
    application: Application, taken: socket.socket, ready: Callable[[], None], grace: int
) -> None:
    config = uvicorn.Config(
        application,
        lifespan="off",
        http="h11",
        ws="none",
        log_config=None,
        access_log=False,  # addresses and paths of callers are nobody's business
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=grace,
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=HEADER_BYTES,
    )
    try:
        await application.start()
        await _Server(config, ready).serve([taken])
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await application.close()


class _Server(uvicorn.Server):
    """Says when the port is open."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]):
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Opens the port."""
        await super().startup(sockets)
        self.ready()


def _leave(signum: int, frame: FrameType | None) -> None:
    sys.exit(0)
