"""Connections that send nothing, or a header letter by letter, are closed: they would take everybody's place."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 20.0  # from a connection's, or the next request's, first byte to the end of its headers


class ImpatientProtocol(H11Protocol):
    """uvicorn's protocol, which by itself waits for headers without end."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """The next request's headers may begin; uvicorn's own timer runs until its first byte."""
        super().on_response_complete()
        self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        # What comes after an answer is the rest of a body that was refused; it is not waited for either.
        refused = self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY
        waiting = self.conn.their_state is h11.IDLE or refused
        if not waiting:
            self._stop()
        elif self._patience is None:
            self._patience = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _stop(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
