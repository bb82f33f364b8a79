"""Processes that outlive the command that starts them, each with a file of its id and a log."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil

GRACE = 20.0  # seconds between asking a process to end and ending it


@dataclass(frozen=True)
class Daemon:
    """A process of the cluster.

    Attributes:
        name: Of its files, `<name>.pid` and `logs/<name>-<time>.log`.
        folder: Of the cluster.
    """

    name: str
    folder: Path

    @property
    def mark(self) -> str:
        """An argument of its command line: a process of the same id without it is somebody else's."""
        return f"-Draxnet.daemon={self.folder / self.name}"

    @property
    def process(self) -> psutil.Process | None:
        """The running process, None where there is none."""
        try:
            found = psutil.Process(int(self._pid_file.read_text()))
            alive = found.status() != psutil.STATUS_ZOMBIE and self.mark in found.cmdline()
        except (OSError, ValueError, psutil.Error):
            return None
        return found if alive else None

    @property
    def log(self) -> Path | None:
        """The newest log, None where it never ran."""
        return max((self.folder / "logs").glob(f"{self.name}-*.log"), default=None)

    def start(self, java: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts it, in a session of its own: neither the terminal nor the command that started it ends it.

        Args:
            java: Path of Java.
            arguments: Of Java.
            environment: All of it.
        """
        log = self.folder / "logs" / f"{self.name}-{datetime.now():%Y%m%dT%H%M%S%f}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as stream:
            process = subprocess.Popen(
                [java, self.mark, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=self.folder,
                start_new_session=True,
            )
        self._pid_file.write_text(f"{process.pid}\n")
        for _ in wait_until(GRACE):  # for a moment a new process has no command line
            if self.process or process.poll() is not None:
                break

    def stop(self) -> bool:
        """Ends it and its children, the SDK workers; returns whether it ran."""
        process = self.process
        if process is not None:
            end([process, *process.children(recursive=True)])
        self._pid_file.unlink(missing_ok=True)
        return process is not None

    @property
    def _pid_file(self) -> Path:
        return self.folder / f"{self.name}.pid"


def end(processes: Sequence[psutil.Process]) -> None:
    """Asks processes to end, waits until they have, and ends those by force that have not."""
    for process in processes:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    _, left = psutil.wait_procs(processes, timeout=GRACE)
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=GRACE)


def tail(log: Path | None, lines: int = 5) -> str:
    """The last lines of a log."""
    return "" if log is None else "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def wait_until(seconds: float) -> object:
    """Yields until so many seconds have passed, five times a second."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield
        time.sleep(0.2)
