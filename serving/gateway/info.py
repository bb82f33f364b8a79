"""What the gateway says of itself: alive, ready, models, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.gateway.metrics import CONTENT_TYPE, Metrics
from serving.gateway.models import Models
from serving.gateway.refusal import Refusal

ANSWER_SECONDS = 10.0  # that the model server may take to say what it is


class Info:
    """The endpoints."""

    def __init__(self, models: Models, metrics: Metrics):
        """Args: models: Behind the gateway. metrics: Its own."""
        self.models, self._metrics = models, metrics
        self._threads = ThreadPoolExecutor(2, "info")  # a server that hangs holds these two and no others

    async def alive(self, request: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """The models are there; with their versions."""
        return JSONResponse({"status": "ready", "versions": await self._ask(self.models.ready)})

    async def described(self, request: Request) -> Response:
        """What the models are."""
        return JSONResponse(await self._ask(self.models.describe))

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _ask(self, question: Callable[[], Any]) -> Any:
        asking = asyncio.get_running_loop().run_in_executor(self._threads, question)
        try:
            return await asyncio.wait_for(asking, ANSWER_SECONDS)
        except asyncio.TimeoutError:
            raise Refusal(503, f"The model server has not answered for {ANSWER_SECONDS:g} s") from None
