"""Progress bars on standard error; in a log file they are a line now and then."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Progress = Callable[[int, int], None]


@contextmanager
def bar(description: str) -> Iterator[Progress]:
    """Yields `progress(done, total)`, which draws a bar.

    Args:
        description: What is being done, shown before the bar.
    """
    interactive = sys.stderr.isatty()
    with tqdm(
        desc=description, mininterval=0.2 if interactive else 20.0, leave=True, ascii=not interactive
    ) as line:

        def progress(done: int, total: int) -> None:
            line.total = total
            line.update(done - line.n)
            if done == total:
                line.refresh()

        yield progress
