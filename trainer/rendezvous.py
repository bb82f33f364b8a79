"""Processes find each other before TensorFlow's runtime starts, which would wait for a missing one without an end.

The first listens at its own address, and lets all go when all have said that they are there. The connections end
then: the runtime takes the same addresses over.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lesions.errors import InputError, WorkError
from trainer.tf_config import Cluster

HEARD, HERE, GO = b"heard\n", b"here\n", b"go\n"
PAUSE = 0.2  # seconds between two looks
GRACE = 3.0  # seconds that the others wait longer than the first, who alone knows who is missing


def meet(cluster: Cluster, wait: float) -> None:
    """Returns when all processes are there.

    Args:
        cluster: All of them.
        wait: At most so many seconds.

    Raises:
        InputError: An address that is none, or that this process cannot listen at.
        WorkError: Somebody did not come; says who.
    """
    end = time.monotonic() + wait
    missing = _gather(cluster, end) if cluster.number == 0 else _report(cluster, end + GRACE)
    if missing:
        names = ", ".join(f"worker {n} ({cluster.addresses[n]})" for n in missing)
        raise WorkError(
            f"nothing heard from {names} within {wait:.0f} s; look at its log, and start all workers again"
        )


def _gather(cluster: Cluster, end: float) -> list[int]:
    """Collects the others and lets them go; returns who is missing."""
    waiting: dict[int, socket.socket] = {}
    others = set(range(1, len(cluster.addresses)))
    with contextlib.ExitStack() as opened:
        listening = opened.enter_context(_listening(cluster.addresses[0]))
        while set(waiting) != others:
            if time.monotonic() > end:
                return sorted(others - set(waiting))
            with contextlib.suppress(OSError):  # nobody in this while, or somebody who left at once
                connection = opened.enter_context(listening.accept()[0])
                connection.settimeout(PAUSE)
                number = _numbered(connection.recv(4096), cluster)
                if number in others and _answers(connection):
                    waiting[number] = connection  # who was there before has died, or he would not come again
            waiting = {number: one for number, one in waiting.items() if _there(one)}
        for connection in waiting.values():
            connection.sendall(GO)
    return []


def _report(cluster: Cluster, end: float) -> list[int]:
    """Tells the first process that this one is there, until it lets it go; returns who is missing."""
    while time.monotonic() < end:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(_place(cluster.addresses[0]), PAUSE) as first,
        ):
            first.sendall(_hello(cluster, cluster.number))
            first.settimeout(max(PAUSE, end - time.monotonic()))
            if first.recv(len(HEARD)) == HEARD:
                first.sendall(HERE)
            if first.recv(len(GO)) == GO:
                return []
        time.sleep(PAUSE)
    return [0]


def _hello(cluster: Cluster, number: int) -> bytes:
    return f"{number} {','.join(cluster.addresses)}\n".encode()


def _numbered(said: bytes, cluster: Cluster) -> int | None:
    """Who says so; None: nobody of this cluster."""
    every = {_hello(cluster, number): number for number in range(len(cluster.addresses))}
    return every.get(said)


def _answers(connection: socket.socket) -> bool:
    """Whether who said its name is still there to hear it: it may have died after saying it."""
    connection.sendall(HEARD)
    return connection.recv(len(HERE)) == HERE


def _there(connection: socket.socket) -> bool:
    """Whether the other end still waits: it says nothing, and has not closed."""
    connection.setblocking(False)
    try:
        return bool(connection.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"TF_CONFIG: an address must be host:port, found {address!r}")
    return host.strip("[]"), int(port)


@contextmanager
def _listening(address: str) -> Iterator[socket.socket]:
    """At a port of this machine, whatever its name is called elsewhere."""
    _, port = _place(address)
    try:
        if socket.has_dualstack_ipv6():
            listening = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        else:
            listening = socket.create_server(("", port))
    except OSError as error:
        raise InputError(f"TF_CONFIG: {address}: cannot listen at port {port} ({error.strerror})") from None
    with listening:
        listening.settimeout(PAUSE)
        yield listening
