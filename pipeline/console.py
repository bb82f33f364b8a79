"""What a person sees: our own lines and bars on standard error; everybody else's chatter in a log file."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from common import machine
from lesions.progress import LOGGER
from lesions.stack import LEVEL, quiet_import

QUIET_SECONDS = 20.0  # between two progress lines where nobody watches


class ConsoleHandler(logging.Handler):
    """Prints our lines; records with `progress` become a bar on a terminal and a line now and then elsewhere."""

    def __init__(self, stream: TextIO | None = None):
        """Args: stream: Where a person reads; None: whatever is standard error when something is said."""
        super().__init__()
        self.given = stream
        self.bar, self.began, self.printed = "", 0.0, 0.0

    @property
    def stream(self) -> TextIO:
        """Where a person reads."""
        return self.given or sys.stderr

    @property
    def terminal(self) -> bool:
        """Whether a person watches."""
        return self.stream.isatty()

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record."""
        progress = getattr(record, "progress", None)
        if progress is not None:
            self._progress(record.getMessage(), *progress)
            return
        if self.bar and self.terminal:
            print(file=self.stream)
        self.bar = ""
        mark = "! " if record.levelno >= logging.WARNING else "  "
        print(mark + record.getMessage(), file=self.stream, flush=True)

    def _progress(self, text: str, done: int, total: int) -> None:
        now = time.monotonic()
        if text != self.bar:
            if self.bar and self.terminal:
                print(file=self.stream)
            self.bar, self.began, self.printed = text, now, now
        if self.terminal:
            meter = tqdm.format_meter(done, total, now - self.began, ncols=100, prefix="  " + text)
            print("\r" + meter, end="\n" if done >= total else "", file=self.stream, flush=True)
            self.bar = "" if done >= total else text
        elif now - self.printed > QUIET_SECONDS:
            self.printed = now
            print(f"  {text}: {done} of {total}", file=self.stream, flush=True)


def quiet() -> None:
    """Sets what must be set before TensorFlow and TFX are imported."""
    machine.limit_threads()
    quiet_import()
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def to_terminal() -> None:
    """Our lines on standard error, others' from WARNING up are dropped: for commands that keep no log file."""
    quiet()
    logger = logging.getLogger(LOGGER)
    logger.handlers = [ConsoleHandler()]
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.ERROR)


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Our lines on the terminal and in the log file; everything else that goes to standard error only there.

    The file descriptor itself is moved, so that C++ libraries and child processes are caught too.

    Args:
        path: Log file; appended to.
    """
    quiet()
    level = os.environ[LEVEL]
    os.environ[LEVEL] = "0"  # all of it goes to the file
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    saved = os.dup(2)
    person = os.fdopen(os.dup(2), "w", buffering=1)
    with path.open("a", buffering=1) as stream:
        os.dup2(stream.fileno(), 2)
        file = logging.StreamHandler(stream)
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root, logger = logging.getLogger(), logging.getLogger(LOGGER)
        before = root.handlers, logger.handlers, logger.propagate, root.level
        logging.getLogger("absl").setLevel(logging.INFO)
        root.handlers, logger.handlers, logger.propagate = [file], [ConsoleHandler(person)], True
        root.setLevel(logging.INFO)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            os.environ[LEVEL] = level
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            root.handlers, logger.handlers, logger.propagate = before[:3]
            root.setLevel(before[3])
            person.close()
