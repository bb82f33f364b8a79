"""TensorFlow Serving's REST API over a folder of models, for laptops and tests: an ASGI application.

How it is built: docs/spec/tensorflow_serving.md#embedded-server. One catch-all instead of a framework's routes: those
would decode %2F, redirect slashes and answer 405 (docs/spec/tensorflow_serving.md#urls).
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lesions.errors import WorkError
from lesions.progress import LOGGER
from serving import metrics
from serving.http_guard import Guard
from serving.rest_api import errors, urls
from serving.rest_api.errors import RestError, invalid
from serving.rest_api.request import PredictRequest, parse_predict
from serving.rest_api.response import check_writable, write_predict
from serving.rest_api.signature import DEFAULT, Signature, metadata
from serving.versions import ModelStore, Version
from serving.worker import RETRY_AFTER

log = logging.getLogger(LOGGER)
POLL_SECONDS = 1.0  # between two looks at the folder, as TensorFlow Serving
MOST_WAITING = 16  # predict requests at a time; one more is answered 503
JSON = "application/json"
PAGE = b"<html><head><title>%d</title></head><body><h1>%s</h1></body></html>"


class ModelServer:
    """The application; `start` before it is served, `close` after."""

    def __init__(self, store: ModelStore, guard: Guard):
        """Args: store: The models. guard: Who may ask."""
        self.store, self.guard = store, guard
        worker = store.worker
        self.metrics = metrics.Metrics(lambda: worker.restarts, lambda: worker.up)
        self._codec = ThreadPoolExecutor(
            2, "json"
        )  # JSON of megabytes would hold up everybody in the event loop
        self._waiting = 0
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Loads the models. Raises WorkError where one cannot be loaded, InputError where the folder cannot be read."""
        await self.store.worker.start()
        await self.store.refresh()
        for name, error in self.store.failed().items():
            raise WorkError(
                f"{self.store.folder / name}: cannot be loaded ({error.message}); export it again"
            )
        self._watch = asyncio.create_task(self._watching())

    async def close(self) -> None:
        """Stops watching the folder and ends the process with the models."""
        if self._watch:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        await self.store.worker.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except RestError as error:
            response = _refusal(error)
        except Exception:  # a defect of ours: the caller learns no more than that
            log.exception("defect in %s", request.method)
            response = _refusal(RestError("INTERNAL", "Internal error of the server; see its log"))
        await response(scope, receive, send)

    async def _watching(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self.store.refresh()
            except Exception as error:  # it must go on whatever a folder holds
                log.warning("%s: %s", self.store.folder, error)

    async def _answer(self, request: Request) -> Response:
        self.guard.check(request)
        method, path = request.method, _raw_path(request)
        if method == "TRACE":
            return Response(PAGE % (501, b"Not Implemented"), 501, media_type="text/html")
        if method == "OPTIONS":
            return _options(request, path)
        if method not in ("GET", "POST"):
            raise urls.malformed(method, path)
        if method == "GET" and path == metrics.PATH:
            return Response(self.metrics.text(), media_type=metrics.CONTENT_TYPE)
        if path.startswith(metrics.PATH + "?"):
            raise urls.malformed(method, path)
        if not urls.is_api(path):
            return Response(PAGE % (404, b"Not Found"), 404, media_type="text/html")
        target = urls.parse(method, path)
        if method == "POST":
            if target.verb != "predict":
                raise _not_served(target.verb, method, path)
            return await self._predict(request, target)
        return self._describe(target)

    def _describe(self, target: urls.Target) -> Response:
        if not target.model:
            raise invalid("Missing model name in request.")
        if not target.metadata:
            return _json(self.store.status(target))
        version = self.store.find(target)
        return _json(metadata(target.model, version.number, version.signatures))

    async def _predict(self, request: Request, target: urls.Target) -> Response:
        start, running, code = time.monotonic(), None, "OK"
        known = target.model if target.model in self.store.models else metrics.UNKNOWN
        try:
            if self._waiting >= MOST_WAITING:
                raise RestError("UNAVAILABLE", f"{MOST_WAITING} requests are waiting; try again")
            self._waiting += 1
            try:
                version = self.store.find(target)
                with self.store.using(version):
                    content, running = await self._run(request, target.model, version)
            finally:
                self._waiting -= 1
        except RestError as error:
            code = error.code
            raise
        finally:
            self.metrics.answered(known, code, time.monotonic() - start, running)
        return Response(content, media_type=JSON)

    async def _run(self, request: Request, model: str, version: Version) -> tuple[bytes, float]:
        """The answer, and the seconds that TensorFlow took."""
        loop = asyncio.get_running_loop()
        body = await self.guard.body(request)
        asked: PredictRequest = await loop.run_in_executor(
            self._codec, parse_predict, body, lambda name: _signature(version, name)
        )
        del body
        name = asked.signature_name or DEFAULT
        dtypes = {alias: info.dtype for alias, info in version.signatures[name].outputs.items()}
        check_writable(dtypes)
        start = time.monotonic()
        outputs = await self.store.worker.predict(model, version.number, name, asked.inputs)
        running = time.monotonic() - start
        return await loop.run_in_executor(self._codec, write_predict, asked.row, dtypes, outputs), running


def _signature(version: Version, name: str) -> Signature:
    if (name or DEFAULT) not in version.signatures:
        raise invalid(f'Serving signature name: "{name or DEFAULT}" not found in signature def')
    return version.signatures[name or DEFAULT]


def _not_served(verb: str, method: str, path: str) -> RestError:
    if verb in ("classify", "regress"):
        return invalid(f"No signature for {verb} here; the models answer :predict")
    return urls.malformed(method, path)  # :PREDICT


def _raw_path(request: Request) -> str:
    """The path as it was sent, with the query."""
    query = request.scope["query_string"]
    return (request.scope["raw_path"] + (b"?" + query if query else b"")).decode("latin-1")


def _options(request: Request, path: str) -> Response:
    if request.headers.get("origin", "").startswith(("http://", "https://")):
        return Response(media_type=JSON)
    raise urls.malformed("OPTIONS", path)


def _json(content: dict[str, Any]) -> Response:
    return Response(json.dumps(content, indent=4, ensure_ascii=False) + "\n", media_type=JSON)


def _refusal(error: RestError) -> Response:
    headers = {"Retry-After": str(RETRY_AFTER)} if error.status == 503 else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(errors.body(error.message), error.status, headers, media_type=JSON)
