"""A model becomes a version in a folder that servers watch: whole or not at all, and no number twice.

TFX's own Pusher copies in place, so that a server may load half a model, and two pushes within one second lose one
(tfx_stack.md, 3).
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path


def push(model: Path, base: Path) -> int:
    """Copies a SavedModel to `<base>/<version>` at once: staged under a name no server reads, then renamed.

    Args:
        model: SavedModel folder.
        base: Folder of the plane's versions; made if missing.

    Returns:
        The version: seconds since 1970, or one more than the newest where that is taken.
    """
    base.mkdir(parents=True, exist_ok=True)
    taken = [int(path.name) for path in base.iterdir() if path.name.isdigit()]
    version = max([int(time.time()), *(number + 1 for number in taken)])
    staged = base / f".staged-{version}"
    shutil.rmtree(staged, ignore_errors=True)
    try:
        shutil.copytree(model, staged)
        staged.rename(base / str(version))
    finally:
        shutil.rmtree(staged, ignore_errors=True)  # there only if this was interrupted
    return version
