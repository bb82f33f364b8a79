"""Addresses on this machine at which nobody listens."""

import socket


def addresses(count: int) -> list[str]:
    """host:port of so many, found all at once so that none is found twice."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return found
