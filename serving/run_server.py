"""Runs applications under uvicorn until SIGTERM, and then to the end of what they are answering."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import uvicorn
from starlette.types import Receive, Scope, Send

from lesions.errors import InputError, WorkError
from serving.slow_clients import ImpatientProtocol

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


class Service(NamedTuple):
    """An application and its socket, from `bind`."""

    application: Application
    taken: socket.socket


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


def run(services: Sequence[Service], ready: Callable[[], None], grace: int = 60) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        services: Started one after the other, each before its port opens; ended in reverse order, so that a later
            one may use an earlier one to its end.
        ready: Called when all ports are open.
        grace: Seconds that each one's requests may still take after the signal.

    Raises:
        KeyboardInterrupt: It was SIGINT, and all is answered.
        WorkError: A server ended by itself.
    """
    try:
        asyncio.run(_serve(services, ready, grace))
    finally:
        for service in services:
            service.taken.close()


async def _serve(services: Sequence[Service], ready: Callable[[], None], grace: int) -> None:
    leave = _Leave()
    with leave.listening():
        async with contextlib.AsyncExitStack() as stack:
            for service in services:
                if not await leave.unless(_begin(stack, service, grace, leave)):
                    break
            else:
                ready()
                await leave.wanted.wait()
    if leave.failed:
        raise WorkError("a server ended by itself; see the messages above")
    if leave.interrupted:
        raise KeyboardInterrupt


async def _begin(stack: contextlib.AsyncExitStack, service: Service, grace: int, leave: _Leave) -> None:
    """Starts an application, then its server; the stack ends the server, then the application."""
    stack.push_async_callback(service.application.close)
    await service.application.start()
    server = _Server(_config(service.application, grace))
    leave.servers.append(server)
    running = asyncio.create_task(server.serve([service.taken]))
    running.add_done_callback(leave.ended)
    stack.push_async_callback(_end, server, running)
    await server.open.wait()


async def _end(server: _Server, running: asyncio.Task[None]) -> None:
    server.should_exit = True
    with contextlib.suppress(asyncio.CancelledError):
        await running


def _config(application: Application, grace: int) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        lifespan="off",
        http=ImpatientProtocol,
        ws="none",
        log_config=None,
        access_log=False,  # addresses and paths of callers are nobody's business
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=grace,
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=HEADER_BYTES,
    )


class _Leave:
    """Knows when to end: at the first signal, or when a server is gone; a second signal waits for nobody."""

    def __init__(self) -> None:
        self.wanted, self.interrupted, self.failed = asyncio.Event(), False, False
        self.servers: list[_Server] = []

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Takes the signals."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def unless(self, work: Awaitable[None]) -> bool:
        """Does something unless a signal comes first; True where it was done."""
        doing, leaving = asyncio.ensure_future(work), asyncio.ensure_future(self.wanted.wait())
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if doing.done():
            await doing
            return True
        doing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await doing
        return False

    def ended(self, running: asyncio.Task[None]) -> None:
        """Called when a server is gone."""
        self.failed = self.failed or not self.wanted.is_set()
        self.wanted.set()

    def _told(self, number: int) -> None:
        for server in self.servers:
            server.force_exit = self.wanted.is_set()
        self.interrupted = number == signal.SIGINT
        self.wanted.set()


class _Server(uvicorn.Server):
    """Says when the port is open, and leaves signals to us: there are several servers, and one order to end them in."""

    def __init__(self, config: uvicorn.Config):
        super().__init__(config)
        self.open = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Opens the port."""
        await super().startup(sockets)
        self.open.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:  # type: ignore[override]
        """Captures none."""
        yield
