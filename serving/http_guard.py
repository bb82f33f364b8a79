"""What stands before a server's own work: who may ask from where, and how much a body may hold.

The threats that it answers: docs/spec/tensorflow_serving.md#security-limits.
"""

from __future__ import annotations

import asyncio
import hmac
import zlib
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect, Request

from serving.rest_api.errors import RestError, invalid

LOCAL = ("localhost", "127.0.0.1", "::1")
ANY = "*"
BODY_SECONDS = 120.0  # that a client may take to send a body


class Guard:
    """The rules for every request."""

    def __init__(self, hosts: Sequence[str] = LOCAL, token: str | None = None, limit: int = 64 << 20):
        """Sets the rules.

        Args:
            hosts: Names under which the server may be addressed; "*" for any.
            token: What must come as `Authorization: Bearer TOKEN`; None: nothing need come.
            limit: Bytes that a body may hold, packed or unpacked.
        """
        self.hosts, self.token, self.limit = {host.lower() for host in hosts}, token, limit

    def check(self, request: Request, need_token: bool = True) -> None:
        """Looks at a request's headers.

        Args:
            request: The request.
            need_token: False for what everybody may see.

        Raises:
            RestError: 403 for a foreign Host or Origin, 401 without the token.
        """
        host, origin = request.headers.get("host"), request.headers.get("origin")
        if host is not None and ANY not in self.hosts and _name(f"//{host}") not in self.hosts:
            raise _denied(f"Host {host[:100]!r} is not one of this server's names; see --allowed-host")
        if origin is not None and _name(origin) not in self.hosts:
            raise _denied(f"Origin {origin[:100]!r} may not ask this server; see --allowed-host")
        sent = request.headers.get("authorization", "").encode()
        if self.token and need_token and not hmac.compare_digest(sent, f"Bearer {self.token}".encode()):
            raise RestError("UNAUTHENTICATED", "A bearer token is needed (Authorization: Bearer TOKEN)")

    async def body(self, request: Request) -> bytes:
        """Reads a body, and unpacks it where it says gzip.

        Raises:
            RestError: 413 where it is too large, 408 where it does not come, 400 where it cannot be unpacked.
        """
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and (len(declared) > 18 or int(declared) > self.limit):
            raise self._too_large()
        try:
            content = await asyncio.wait_for(self._read(request), BODY_SECONDS)
        except asyncio.TimeoutError:
            raise RestError("DEADLINE_EXCEEDED", "The body did not come in time", 408) from None
        except ClientDisconnect:
            raise RestError("CANCELLED", "The client went away") from None
        if "gzip" in request.headers.get("content-encoding", ""):  # as TensorFlow Serving looks for it
            return await asyncio.to_thread(inflate, content, self.limit)
        return content

    async def _read(self, request: Request) -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self.limit:  # whatever Content-Length said
                raise self._too_large()
            parts.append(part)
        return b"".join(parts)

    def _too_large(self) -> RestError:
        return RestError("RESOURCE_EXHAUSTED", f"The body holds more than {self.limit} bytes; send less", 413)


def inflate(content: bytes, limit: int) -> bytes:
    """Unpacks gzip, never more than `limit` bytes. Raises RestError, in TensorFlow Serving's words, where it cannot."""
    unpacker = zlib.decompressobj(31)
    try:
        whole = unpacker.decompress(content, limit + 1)
    except zlib.error:
        whole = b""
    if not whole or len(whole) > limit or not unpacker.eof:
        raise invalid("JSON Parse error: The document is empty")
    return whole


def _name(address: str) -> str:
    """The host in an address, in lower case; "" where there is none to be read."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _denied(message: str) -> RestError:
    return RestError("PERMISSION_DENIED", message)
