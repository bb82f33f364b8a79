"""What the gateway says of itself: alive, ready, models, metrics."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.gateway.metrics import CONTENT_TYPE, Metrics
from serving.gateway.models import Models


class Info:
    """The endpoints."""

    def __init__(self, models: Models, metrics: Metrics):
        """Args: models: Behind the gateway. metrics: Its own."""
        self.models, self._metrics = models, metrics

    async def alive(self, request: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """The models are there; with their versions."""
        return JSONResponse({"status": "ready", "versions": await asyncio.to_thread(self.models.ready)})

    async def described(self, request: Request) -> Response:
        """What the models are."""
        return JSONResponse(await asyncio.to_thread(self.models.describe))

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})
