"""Jobs as folders, which several gateways may share: nothing of a job is in memory alone.

A folder holds the scan, `job.json`, claims (`serving.gateway.claims`) and, in the end, results.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from lesions.errors import InputError
from lesions.files import write_text
from serving.gateway.claims import CLOCK, Claim, Claims
from serving.gateway.options import Options
from serving.gateway.refusal import Refusal

ID = re.compile(r"[0-9a-f]{32}")
FILE, CANCELLED = "job.json", "cancelled"
QUEUED, RUNNING, DONE, FAILED = "queued", "running", "done", "failed"
OPEN = (QUEUED, RUNNING)
MOST_ATTEMPTS = 3  # at a job whose gateways die
_NEW, _GONE = ".new-", ".gone-"
_ABANDONED = 3600.0  # seconds after which an upload without an end is nobody's
Content = dict[str, Any]


class JobStore:
    """The jobs of a folder."""

    def __init__(self, folder: Path, keep: float = 3600.0, stale: float = 30.0):
        """Names the folder.

        Args:
            folder: Of the jobs.
            keep: Seconds that results stay.
            stale: Seconds that a claim is untouched until it is free.
        """
        self.folder, self.keep, self.claims = folder, keep, Claims(folder, stale)

    def new(self) -> Path:
        """A private folder for a job that is being sent; `publish` makes it one."""
        folder = self.folder / f"{_NEW}{int(time.time()):08x}{secrets.token_hex(12)}"
        folder.mkdir(mode=0o700)
        return folder

    def publish(self, folder: Path, scan: Path, options: Options) -> str:
        """Puts a job into the queue. Returns its id."""
        name = folder.name.removeprefix(_NEW)
        content = {
            "state": QUEUED,
            "created": time.time(),
            "scan": scan.name,
            "options": options.as_json(),
            "progress": {"stage": QUEUED, "done": 0, "total": 0},
        }
        _write(folder, content)
        folder.rename(self.folder / name)
        return name

    def find(self, name: str) -> Content:
        """A job as it is now, its id included. Raises Refusal, 404 or 410, where there is none."""
        if not ID.fullmatch(name):
            raise Refusal(404, "There is no such job")
        content = self._read(name)
        if content is None:
            if int(name[:8], 16) + self.keep < time.time():
                raise Refusal(410, "The job is gone; results are kept for a limited time")
            raise Refusal(404, "There is no such job")
        return content

    def cancel(self, name: str) -> None:
        """Marks an open job, for whoever works on it; removes any other."""
        if self.find(name)["state"] in OPEN:
            with suppress(FileNotFoundError):
                (self.folder / name / CANCELLED).touch(0o600)
            if claim := self.claims.take(name):  # nobody works on it
                self.update(claim, state=CANCELLED)
        else:
            self._remove(self.folder / name)

    def waiting(self) -> int:
        """How many jobs nobody works on."""
        return sum(content["state"] == QUEUED for content in self._all())

    def claim(self) -> Claim | None:
        """The job that has waited longest and is free, now ours."""
        for content in self._all():
            wanted = content["state"] in OPEN or content.get("cancelling")
            if wanted and (found := self.claims.take(content["id"])):
                return found
        return None

    def holds(self, claim: Claim) -> bool:
        """Touches a claim; False where it was lost or the job is not wanted any more."""
        return not (self.folder / claim.name / CANCELLED).exists() and self.claims.touch(claim)

    def update(self, claim: Claim, **changes: Any) -> None:
        """Writes what has changed, while the claim holds; with it ends, a job that is at its end loses its scan."""
        folder = self.folder / claim.name
        content = self._read(claim.name)
        if content is None or not self.claims.is_newest(claim):
            return
        content |= changes
        if content["state"] not in OPEN:
            if (folder / CANCELLED).exists():  # just before it was done
                content["state"] = CANCELLED
                for out in folder.glob("out-*"):
                    shutil.rmtree(out, ignore_errors=True)
            content["finished"] = time.time()
            (folder / content["scan"]).unlink(missing_ok=True)
        for shown in ("id", "cancelling"):
            content.pop(shown, None)
        with suppress(InputError):  # the folder was removed meanwhile
            _write(folder, content)

    def give_back(self, claim: Claim) -> None:
        """Puts a job back into the queue, for anybody, at once."""
        self.update(claim, state=QUEUED, progress={"stage": QUEUED, "done": 0, "total": 0})
        self.claims.give_back(claim)

    def sweep(self) -> None:
        """Removes what has expired, and what others left behind half-way."""
        now = time.time()
        for content in self._all():
            if (self.expires(content) or now) < now:
                self._remove(self.folder / content["id"])
        for path in self.folder.iterdir():
            left = path.name.startswith((_NEW, CLOCK)) and _age(path) > _ABANDONED
            if left or path.name.startswith(_GONE):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def expires(self, content: Content) -> float | None:
        """When a finished job's results go, seconds since 1970; None before."""
        return content["finished"] + self.keep if "finished" in content else None

    def _all(self) -> Iterator[Content]:
        """The jobs, oldest first."""
        for path in sorted(self.folder.iterdir()):
            if ID.fullmatch(path.name) and (content := self._read(path.name)):
                yield content

    def _read(self, name: str) -> Content | None:
        folder = self.folder / name
        try:
            content: Content = json.loads((folder / FILE).read_text())
        except (OSError, ValueError):
            return None
        content["id"] = name
        if content["state"] in OPEN and (folder / CANCELLED).exists():
            content["state"], content["cancelling"] = CANCELLED, True
        return content

    def _remove(self, folder: Path) -> None:
        gone = folder.with_name(_GONE + folder.name)
        with suppress(OSError):
            folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _write(folder: Path, content: Content) -> None:
    write_text(folder / FILE, json.dumps(content))


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
