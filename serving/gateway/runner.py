"""Works on jobs, one after the other, until it is told to end; what it cannot finish goes back into the queue."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from lesions.errors import WorkError
from lesions.progress import LOGGER
from serving.gateway import jobs, options, results
from serving.gateway.claims import Claim
from serving.gateway.jobs import JobStore
from serving.gateway.refusal import DEFECT, GoneError, refusal
from serving.gateway.segmenting import Task, request_id
from serving.gateway.workplace import Workplace
from serving.rest_client import NotReadyError

log = logging.getLogger(LOGGER)
LOOK_SECONDS = 2.0  # between two looks for jobs that other gateways left
BEAT_SECONDS = 1.0
SWEEP_SECONDS = 30.0
MODELS_SECONDS = 600.0  # that a job waits for models
DRAIN_SECONDS = 30.0  # that a job may take to its end when the gateway leaves


class Runner:
    """The jobs' side of the workplace."""

    def __init__(self, store: JobStore, workplace: Workplace):
        """Args: store: The jobs. workplace: Where volumes are worked on."""
        self.store, self.workplace = store, workplace
        self._leaving = False
        self._look = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins, in the running event loop."""
        works = [self._working() for _ in range(self.workplace.volumes)]
        self._tasks = [asyncio.create_task(work) for work in (*works, self._sweeping())]
        self.workplace.on_free = self.wake

    def wake(self) -> None:
        """There may be something to do."""
        self._look.set()

    async def close(self) -> None:
        """Lets what runs come to its end, within reason, and gives the rest back."""
        self._leaving = True
        self.wake()
        for sweeper in self._tasks[-1:]:
            sweeper.cancel()
        if workers := self._tasks[:-1]:
            await asyncio.wait(workers, timeout=DRAIN_SECONDS)
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _working(self) -> None:
        while not self._leaving:
            self._look.clear()
            place = self.workplace
            free = place.running < place.volumes and not place.waiting  # who waits at the line goes first
            claim = await asyncio.to_thread(self._claim) if free else None
            if claim:
                try:
                    await self._do(claim)
                except Exception:  # it must go on whatever a folder holds
                    log.exception("[%s] defect", claim.name)
            elif not self._leaving:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._look.wait(), LOOK_SECONDS)

    def _claim(self) -> Claim | None:
        try:
            return self.store.claim()
        except OSError as error:
            log.warning("%s: %s", self.store.folder, error)
            return None

    async def _do(self, claim: Claim) -> None:
        """One job, to whatever end."""
        request_id.set(claim.name)
        start, doing = time.monotonic(), asyncio.create_task(self._attempt(claim))
        beating = asyncio.create_task(self._beating(claim, doing))
        try:
            changes = await doing
        except asyncio.CancelledError:
            changes = await asyncio.to_thread(self._stopped, claim)
        finally:
            beating.cancel()
        if changes:
            await asyncio.to_thread(lambda: self.store.update(claim, **changes))
            log.info("[%s] job: %s in %.2f s", claim.name, changes["state"], time.monotonic() - start)

    def _stopped(self, claim: Claim) -> dict[str, Any]:
        """A job that is not wanted any more ends; one that we leave goes back."""
        if (self.store.folder / claim.name / jobs.CANCELLED).exists():
            return {"state": jobs.CANCELLED}
        self.store.give_back(claim)
        return {}

    async def _beating(self, claim: Claim, doing: asyncio.Task[Any]) -> None:
        held = True
        while held:
            await asyncio.sleep(BEAT_SECONDS)
            with suppress(OSError):  # a file system that is away for a moment
                held = await asyncio.to_thread(self.store.holds, claim)
        doing.cancel()

    async def _attempt(self, claim: Claim) -> dict[str, Any]:
        """What the job becomes."""
        try:
            if not self.store.holds(claim):
                raise GoneError
            if claim.attempts > jobs.MOST_ATTEMPTS:
                raise WorkError(
                    f"{jobs.MOST_ATTEMPTS} gateways ended while they worked on it; it is not tried again"
                )
            return await self._segment(claim)
        except GoneError:
            raise asyncio.CancelledError from None
        except Exception as error:
            known = refusal(error)
            if known is None:
                log.exception("[%s] defect", claim.name)
            return {"state": jobs.FAILED, "error": known.message if known else DEFECT}

    async def _segment(self, claim: Claim) -> dict[str, Any]:
        job, folder = self.store.find(claim.name), self.store.folder / claim.name
        out = folder / f"out-{claim.number}"
        out.mkdir(mode=0o700, exist_ok=True)
        end = time.monotonic() + MODELS_SECONDS
        while True:
            task = Task(folder / job["scan"], options.from_json(job["options"]), self._teller(claim))
            try:
                summary = await self.workplace.do(task, tuple(results.FILES), out)
                break
            except NotReadyError:
                if time.monotonic() > end or self._leaving:
                    raise
            self._tell(claim, jobs.QUEUED, "waiting for the models", 0, 0)
            await asyncio.sleep(LOOK_SECONDS)
        return {"state": jobs.DONE, "out": out.name, "summary": summary}

    def _teller(self, claim: Claim) -> Any:
        told: tuple[str, float] = "", 0.0

        def tell(stage: str, done: int, total: int) -> None:
            nonlocal told
            if stage != told[0] or time.monotonic() - told[1] > BEAT_SECONDS / 2:
                told = stage, time.monotonic()
                self._tell(claim, jobs.RUNNING, stage, done, total)

        return tell

    def _tell(self, claim: Claim, state: str, stage: str, done: int, total: int) -> None:
        self.store.update(claim, state=state, progress={"stage": stage, "done": done, "total": total})

    async def _sweeping(self) -> None:
        while True:
            with suppress(OSError):
                await asyncio.to_thread(self.store.sweep)
            await asyncio.sleep(min(SWEEP_SECONDS, max(self.store.keep / 4, 0.1)))


def out_file(store: JobStore, content: dict[str, Any], name: str) -> Path:
    """Where a finished job's result lies."""
    return store.folder / content["id"] / content["out"] / name
