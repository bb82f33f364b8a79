"""A model becomes a version in a folder that servers watch: whole or not at all, and no number twice.

TFX's own Pusher copies in place, so that a server may load half a model, and two pushes within one second lose one
(docs/spec/tfx_stack.md#pusher).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Staged:
    """A copy of a model under a name that no server reads.

    Attributes:
        folder: Of the copy.
        version: What it will be.
    """

    folder: Path
    version: int

    def take_place(self) -> int:
        """Makes it a version at once; returns its number."""
        self.folder.rename(self.folder.with_name(str(self.version)))
        return self.version


@contextmanager
def staged(model: Path, base: Path) -> Iterator[Staged]:
    """Copies a SavedModel beside the versions of a plane; what has not taken its place by the end is removed.

    Args:
        model: SavedModel folder.
        base: Folder of the plane's versions; made if missing.
    """
    base.mkdir(parents=True, exist_ok=True)
    taken = [int(path.name) for path in base.iterdir() if path.name.isdigit()]
    version = max([int(time.time()), *(number + 1 for number in taken)])
    copy = Staged(base / f".staged-{version}", version)
    shutil.rmtree(copy.folder, ignore_errors=True)
    try:
        shutil.copytree(model, copy.folder)
        yield copy
    finally:
        shutil.rmtree(copy.folder, ignore_errors=True)  # there only if this was interrupted


def push(model: Path, base: Path) -> int:
    """Copies a SavedModel to `<base>/<version>` at once.

    Args:
        model: SavedModel folder.
        base: Folder of the plane's versions; made if missing.

    Returns:
        The version: seconds since 1970, or one more than the newest where that is taken.
    """
    with staged(model, base) as copy:
        return copy.take_place()
