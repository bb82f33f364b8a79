"""The gateway as an ASGI application: who may ask, what is asked for, request ids, logs, errors."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Message, Receive, Scope, Send

from lesions.errors import InputError
from lesions.progress import LOGGER
from serving.gateway import refusal
from serving.gateway.info import Info
from serving.gateway.jobs import JobStore
from serving.gateway.jobs_api import Jobs
from serving.gateway.metrics import Metrics
from serving.gateway.models import Models
from serving.gateway.pages import Pages
from serving.gateway.refusal import Refusal
from serving.gateway.runner import Runner
from serving.gateway.segmenting import request_id
from serving.gateway.settings import Settings
from serving.gateway.sync import Segment
from serving.gateway.workplace import Workplace
from serving.http_guard import Guard

log = logging.getLogger(LOGGER)
OPEN = ("/healthz", "/readyz", "/", "/static/{path:path}", "/docs", "/openapi.json")  # need no token
QUIET = ("/healthz", "/readyz", "/metrics", "/jobs/{id}")  # asked every few seconds
UNKNOWN = "unknown"
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
Endpoint = Callable[[Request], Awaitable[Response]]


class Gateway:
    """The application; `start` before it is served, `close` after."""

    def __init__(self, models: Models, guard: Guard, settings: Settings):
        """Args: models: Behind it. guard: Who may ask. settings: Limits and folders."""
        self.models, self.guard, self.settings = models, guard, settings
        self.workplace = Workplace(models, settings.volumes, settings.queue)
        self.store = JobStore(settings.jobs, settings.keep)
        self.runner = Runner(self.store, self.workplace)
        self.metrics = Metrics(
            {
                "running": ("Scans being segmented", lambda: self.workplace.running),
                "waiting": ("Scans of /segment that wait for it", lambda: self.workplace.waiting),
                "jobs_waiting": ("Jobs that wait for it", self.store.waiting),
            }
        )
        info = Info(models, self.metrics)
        pages = Pages(settings, models)
        jobs = Jobs(settings, self.store, self.workplace, self.runner)
        self.routes = [
            _route("/segment", Segment(settings, self.workplace).answer, "POST"),
            _route("/jobs", jobs.submit, "POST"),
            _route("/jobs/{id}", jobs.poll),
            _route("/jobs/{id}", jobs.cancel, "DELETE"),
            _route("/jobs/{id}/{file}", jobs.fetch),
            _route("/healthz", info.alive),
            _route("/readyz", info.ready),
            _route("/models", info.described),
            _route("/metrics", info.metrics),
            _route("/openapi.json", pages.openapi),
            _route("/docs", pages.docs),
            _route("/", pages.index),
            _route("/static/{path:path}", pages.static),
            _route("/sample.nii.gz", pages.sample),
        ]

    async def start(self) -> None:
        """Begins to work on jobs. Raises InputError where their folder cannot be used."""
        try:
            self.settings.jobs.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.store.sweep()
        except OSError as error:
            raise InputError(f"{self.settings.jobs}: cannot be used for jobs ({error.strerror})") from None
        self.runner.start()

    async def close(self) -> None:
        """Ends the work: the job that runs is finished or put back."""
        await self.runner.close()
        self.workplace.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        request, start = Request(scope, receive), time.monotonic()
        given = request.headers.get("x-request-id", "")
        name = given if _ID.fullmatch(given) else secrets.token_hex(8)
        request_id.set(name)
        sent = _Sent(send, name)
        route = self._find(scope)
        try:
            try:
                response = await self._answer(request, route)
                await response(scope, receive, sent)
            except Exception as error:
                await refusal.answer(_refused(error, name, sent.status))(scope, receive, sent)
        finally:
            path, seconds = route.path if route else UNKNOWN, time.monotonic() - start
            self.metrics.answered(path, sent.status, seconds)
            if path not in QUIET:
                log.info("[%s] %s %s: %d in %.2f s", name, request.method, path, sent.status, seconds)

    def _find(self, scope: Scope) -> Route | None:
        """The route of a request; one of another method where there is none of its own."""
        other = None
        for route in self.routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found)
                return route
            if match is Match.PARTIAL:
                other = route
        return other

    async def _answer(self, request: Request, route: Route | None) -> Response:
        open_to_all = route is not None and route.path in OPEN
        self.guard.check(request, need_token=not open_to_all)
        if route is None:
            raise Refusal(404, "No such page; see /docs")
        if request.method not in (route.methods or ()):
            raise Refusal(405, f"Only {', '.join(sorted(route.methods or ()))} here; see /docs")
        endpoint: Endpoint = route.endpoint
        return await endpoint(request)


class _Sent:
    """Sends messages with the request's id, and remembers the status."""

    def __init__(self, send: Send, name: str):
        self._send, self._name, self.status = send, name, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [
                *message.get("headers", []),
                (b"x-request-id", self._name.encode()),
                (b"x-content-type-options", b"nosniff"),
            ]
        await self._send(message)


def _route(path: str, endpoint: Endpoint, method: str = "GET") -> Route:
    return Route(path, endpoint, methods=[method])


def _refused(error: Exception, name: str, status: int) -> Refusal:
    """What is answered to an error; raises it where an answer has begun, so that the connection breaks off."""
    known = refusal.refusal(error)
    if known is None:
        log.exception("[%s] defect", name)
    if status:
        raise error
    return known or Refusal(500, refusal.DEFECT)
