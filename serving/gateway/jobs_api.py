"""/jobs: submit, poll, fetch, cancel."""

from __future__ import annotations

import asyncio
import shutil
from datetime import datetime, timezone
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from serving.gateway import jobs, options, results, upload
from serving.gateway.jobs import JobStore
from serving.gateway.refusal import Refusal
from serving.gateway.runner import Runner, out_file
from serving.gateway.settings import Settings
from serving.gateway.workplace import Workplace


class Jobs:
    """The endpoints."""

    def __init__(self, settings: Settings, store: JobStore, workplace: Workplace, runner: Runner):
        """Args: settings: The gateway's. store: The jobs. workplace: Bounds uploads. runner: Is told of new jobs."""
        self.settings, self.store, self.workplace, self.runner = settings, store, workplace, runner

    async def submit(self, request: Request) -> Response:
        """Takes a scan; 202 and where to ask."""
        given = dict(request.query_params)
        options.parse(given)  # before the body is read
        await asyncio.to_thread(self._require_place)
        folder = self.store.new()
        try:
            with self.workplace.uploading():
                path, fields = await upload.receive(request, folder, self.settings.limits)
            chosen = options.parse(given | fields)
            await asyncio.to_thread(self._require_place)
            name = self.store.publish(folder, path, chosen)
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # has another name by now, if all went well
        self.runner.wake()
        content = self._show(self.store.find(name))
        return JSONResponse(content, 202, {"Location": f"/jobs/{name}", "Cache-Control": "no-store"})

    async def poll(self, request: Request) -> Response:
        """A job as it is now."""
        content = await asyncio.to_thread(self.store.find, request.path_params["id"])
        return JSONResponse(self._show(content), headers={"Cache-Control": "no-store"})

    async def fetch(self, request: Request) -> Response:
        """One of a finished job's files."""
        content = await asyncio.to_thread(self.store.find, request.path_params["id"])
        name = request.path_params["file"]
        if name not in results.FILES.values():
            raise Refusal(404, f"A job has no such file; it has {', '.join(results.FILES.values())}")
        if content["state"] != jobs.DONE:
            raise Refusal(404, f"The job is {content['state']}: it has no results")
        path = out_file(self.store, content, name)
        if not path.is_file():
            raise Refusal(410, "The job is gone; results are kept for a limited time")
        headers = results.headers(content["summary"])
        return FileResponse(path, headers=headers, media_type=results.MEDIA[path.suffix], filename=name)

    async def cancel(self, request: Request) -> Response:
        """Cancels a job, or removes a finished one."""
        await asyncio.to_thread(self.store.cancel, request.path_params["id"])
        self.runner.wake()
        return Response(status_code=204)

    def _require_place(self) -> None:
        if (waiting := self.store.waiting()) >= self.settings.queue:
            raise Refusal(429, f"{waiting} jobs are waiting already; come back later")

    def _show(self, content: dict[str, Any]) -> dict[str, Any]:
        name, summary = content["id"], content.get("summary")
        files = results.FILES if content["state"] == jobs.DONE else {}
        return {
            "id": name,
            "state": content["state"],
            "progress": content["progress"],
            "created": _time(content["created"]),
            "expires": _time(self.store.expires(content)),
            "error": content.get("error"),
            "warnings": summary["warnings"] if summary else [],
            "summary": summary,
            "options": content["options"],
            "results": {output: f"/jobs/{name}/{file}" for output, file in files.items()},
        }


def _time(seconds: float | None) -> str | None:
    return (
        None
        if seconds is None
        else datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
    )
