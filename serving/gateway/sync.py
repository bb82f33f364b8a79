"""POST /segment: a scan in, its mask in the answer to the same request."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack, suppress
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from serving.gateway import options, results, upload
from serving.gateway.files import private_folder
from serving.gateway.refusal import GoneError
from serving.gateway.segmenting import Task
from serving.gateway.settings import Settings
from serving.gateway.workplace import Summary, Workplace


class Segment:
    """The endpoint."""

    def __init__(self, settings: Settings, workplace: Workplace):
        """Args: settings: The gateway's. workplace: Where the work is done."""
        self.settings, self.workplace = settings, workplace

    async def answer(self, request: Request) -> FileResponse:
        """Answers with one output."""
        _parse(dict(request.query_params))  # before the body is read
        self.workplace.require_place()
        with ExitStack() as stack:
            folder = stack.enter_context(private_folder(self.settings.scratch))
            with self.workplace.uploading():
                path, fields = await upload.receive(request, folder, self.settings.limits)
            output, chosen = _parse(dict(request.query_params) | fields)
            self.workplace.require_place()
            work = self.workplace.do(Task(path, chosen), [output], folder)
            summary = await _while_there(request, work)
            return _Answer(folder / results.file_of(output), summary, stack.pop_all())


class _Answer(FileResponse):
    """One of the results; the folder goes when it is sent, or the client is gone."""

    def __init__(self, path: Path, summary: Summary, folder: ExitStack):
        headers = results.headers(summary)
        super().__init__(path, headers=headers, media_type=results.MEDIA[path.suffix], filename=path.name)
        self._folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it whole: a range of an answer that is made anew each time has no meaning."""
        kept = [(name, value) for name, value in scope["headers"] if name != b"range"]
        with self._folder:
            await super().__call__({**scope, "headers": kept}, receive, send)


def _parse(given: dict[str, str]) -> tuple[str, options.Options]:
    output = options.OUTPUT.parse("output", given.pop("output", options.OUTPUT.default))
    return output, options.parse(given)


async def _while_there(request: Request, work: Coroutine[None, None, Summary]) -> Summary:
    """The work's result, while the client waits for it. Raises GoneError where it leaves."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise GoneError
        return working.result()
    finally:
        leaving.cancel()
        working.cancel()
        with suppress(BaseException):
            await working


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
