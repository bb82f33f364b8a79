"""One function over many subjects, in this process or in several; a worker that dies names its subject."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from common import machine
from lesions.errors import WorkError
from lesions.progress import LOGGER, Progress

WORKERS = "RAXNET_WORKERS"  # environment variable: what the configuration's `workers` says
WORKER_BYTES = 320_000_000  # that a process takes for scans of 1 mm (benchmarks/check_memory.py)
Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_workers() -> int:
    """How many subjects may be worked on at a time: RAXNET_WORKERS, or what this machine can."""
    return int(os.environ.get(WORKERS) or 0) or default_workers()


def default_workers() -> int:
    """One process per processor, but no more than half of the memory holds: the other half is the caller's."""
    return max(1, min(machine.processors(), machine.memory_bytes() // 2 // WORKER_BYTES))


def map_subjects(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    name: Callable[[Item], str],
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Result]:
    """Applies `function` to every item; at most `workers` items are in memory at a time.

    Args:
        function: Picklable where workers > 1.
        items: One per subject.
        name: What an item is called in an error.
        workers: Processes; 1 works in this one.
        progress: Called with (done, total) after each item.

    Returns:
        The results in the order of `items`.

    Raises:
        WorkError: A worker process died (most often for want of memory), or memory ran out; names the subject.
    """
    report = progress or (lambda done, total: None)
    done: dict[int, Result] = {}
    if workers <= 1 or len(items) <= 1:
        for index, item in enumerate(items):
            try:
                done[index] = function(item)
            except MemoryError:
                raise WorkError(f"{name(item)}: out of memory; free some") from None
            report(len(done), len(items))
    else:
        _run(function, items, list(range(len(items))), name, workers, done, report)
    # What is left fell with a pool that broke. Again, alone: the one that breaks now is the one to name.
    left = [index for index in range(len(items)) if index not in done]
    if left:
        logging.getLogger(LOGGER).warning(
            "a worker process died, most likely out of memory: the last %d go on one at a time", len(left)
        )
    for index in left:
        _run(function, items, [index], name, 1, done, report)
        if index not in done:
            raise WorkError(
                f"{name(items[index])}: the worker process died, also when it worked alone, most likely out of "
                "memory; free some memory, or look at the size of its files"
            )
    return [done[index] for index in range(len(items))]


def _run(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    indices: list[int],
    name: Callable[[Item], str],
    workers: int,
    done: dict[int, Result],
    report: Progress,
) -> None:
    """Fills `done`; returns early, without an error, where the pool breaks."""
    with ProcessPoolExecutor(min(workers, len(indices)), mp_context=get_context("spawn")) as pool:
        futures: dict[Future[Result], int] = {pool.submit(function, items[i]): i for i in indices}
        try:
            for future in as_completed(futures):
                try:
                    done[futures[future]] = future.result()
                except MemoryError:
                    subject = name(items[futures[future]])
                    raise WorkError(f"{subject}: out of memory; free some, or use fewer workers") from None
                report(len(done), len(items))
        except BrokenProcessPool:
            return
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
