"""Which stack a run's root belongs to: TFX's metadata and checkpoints in it are one stack's, never shared."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path

from lesions.errors import InputError
from lesions.files import write_text

NAME = "stack.json"


def claim(root: Path) -> None:
    """Notes this stack in a root that has none yet; a root from before there was such a note becomes this stack's.

    Raises:
        InputError: It is another stack's.
    """
    check(root)
    if not (root / NAME).exists():
        write_text(root / NAME, json.dumps(_here(), indent=2) + "\n")


def check(root: Path) -> None:
    """Makes sure, before anything of TFX reads a root, that no other stack wrote it; nothing is written.

    Raises:
        InputError: It is another stack's, or its note cannot be read.
    """
    path = root / NAME
    try:
        theirs = json.loads(path.read_text())
        tfx, told = theirs["tfx"], _told(theirs)
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):
        remedy = "remove it if this stack made the folder, or set another root"
        raise InputError(
            f"{path}: must say which stack the folder belongs to, and cannot be read; {remedy}"
        ) from None
    here = _here()
    if _minor(tfx) != _minor(here["tfx"]):
        raise InputError(
            f"{root}: belongs to {told}, and this is {_told(here)}: its metadata and checkpoints cannot be shared "
            f"({NAME}); run it where it was made, or set another root. Models and tables can be shared"
        )


def _here() -> dict[str, str]:
    versions = {name: metadata.version(name) for name in ("tfx", "tensorflow", "keras")}
    return versions | {"python": platform.python_version()}


def _told(stack: dict[str, str]) -> str:
    return f"TFX {stack['tfx']} on Python {stack['python']}"


def _minor(version: str) -> list[str]:
    """Major and minor number: what keeps its metadata's form."""
    return version.split(".")[:2]
