"""How much memory this process and all that it started took together."""

from __future__ import annotations

import threading
from types import TracebackType

import psutil

EVERY = 1.0  # seconds


class PeakMemory:
    """Measures while it is open; `peak` is in bytes, the largest of samples a second apart.

    Memory that several processes share counts once; where the system does not tell (macOS), not at all.
    """

    def __init__(self) -> None:
        """Measures nothing yet."""
        self.peak = 0
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        """Begins."""
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends, with a last sample."""
        self._stop.set()
        self._watcher.join()
        self.peak = max(self.peak, _taken())

    def _watch(self) -> None:
        while not self._stop.wait(EVERY):
            self.peak = max(self.peak, _taken())


def _taken() -> int:
    """Bytes now; a process that ends meanwhile counts nothing."""
    mine, total = psutil.Process(), 0
    for process in [mine, *mine.children(recursive=True)]:
        try:
            facts = process.memory_full_info()
        except psutil.Error:
            continue
        total += getattr(facts, "pss", facts.uss)
    return total
