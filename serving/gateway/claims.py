"""Who works on a job: one gateway at a time, whatever becomes of the others.

A job's folder holds `claim-1`, `claim-2`, ...: whoever made the one with the highest number, which only one can, has
the job while he touches that file; untouched for a while, the next number may be made. Taking a stale claim away
instead would take another gateway's new one, now and then.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CLOCK = ".clock-"
_NAME = "claim-"


@dataclass(frozen=True)
class Claim:
    """A job that is ours to work on.

    Attributes:
        name: The job's id.
        number: Of the claim.
        attempts: How many were begun, this one included, that were not given back.
    """

    name: str
    number: int
    attempts: int


class Claims:
    """The claims of a folder of jobs."""

    def __init__(self, folder: Path, stale: float):
        """Args: folder: Of the jobs. stale: Seconds that a claim is untouched until it is free."""
        self.folder, self.stale = folder, stale
        self._clock = folder / f"{CLOCK}{os.getpid()}-{secrets.token_hex(4)}"

    def take(self, name: str) -> Claim | None:
        """Claims a job; None where somebody has it, or it is gone."""
        found = self._touched(name)
        if found and self._now() - found[max(found)] < self.stale:
            return None
        number = max(found, default=0) + 1
        with suppress(FileExistsError, FileNotFoundError):
            os.close(os.open(self._path(name, number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            return Claim(name, number, 1 + sum(touched > 0 for touched in found.values()))
        return None

    def touch(self, claim: Claim) -> bool:
        """Keeps a claim; False where it was lost."""
        with suppress(FileNotFoundError):
            if self.is_newest(claim):
                os.utime(self._path(claim.name, claim.number))
                return True
        return False

    def is_newest(self, claim: Claim) -> bool:
        """Whether nobody took the job from us."""
        return max(self._touched(claim.name), default=0) == claim.number

    def give_back(self, claim: Claim) -> None:
        """Frees a job at once; it counts as no attempt."""
        with suppress(FileNotFoundError):
            os.utime(self._path(claim.name, claim.number), (0, 0))

    def _path(self, name: str, number: int) -> Path:
        return self.folder / name / f"{_NAME}{number}"

    def _touched(self, name: str) -> dict[int, float]:
        """Number of each claim, and when it was touched."""
        found = {}
        for path in (self.folder / name).glob(f"{_NAME}*"):
            with suppress(FileNotFoundError, ValueError):
                found[int(path.name.removeprefix(_NAME))] = path.stat().st_mtime
        return found

    def _now(self) -> float:
        """The clock of the folder's machine, which wrote the claims' times."""
        self._clock.touch()
        return self._clock.stat().st_mtime
