"""Progress as log records: whoever shows the log draws a bar, a line or nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable

Progress = Callable[[int, int], None]
LOGGER = "raxnet"  # our own lines; everybody else's chatter has other names


def to_log(description: str) -> Progress:
    """A `progress(done, total)` that ends up where our log lines go."""
    logger = logging.getLogger(LOGGER)

    def progress(done: int, total: int) -> None:
        logger.info(description, extra={"progress": (done, total)})

    return progress
