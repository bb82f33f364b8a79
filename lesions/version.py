"""Which code this is."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

DISTRIBUTION = "raxnet-pipeline"
_HERE = Path(__file__).resolve().parent


def code_version(folder: Path = _HERE) -> str:
    """Version of the package, and the commit where it runs from a checkout: "0.1.0, commit 1a2b3c...".

    Args:
        folder: Of the code.
    """
    version, commit = metadata.version(DISTRIBUTION), _git(folder, "rev-parse", "HEAD")
    # An installed copy may lie in a checkout of something else.
    if not commit or not _git(folder, "ls-files", "."):
        return version
    changed = ", with changes that are not committed" if _git(folder, "status", "--porcelain", ":/") else ""
    return f"{version}, commit {commit}{changed}"


def _git(folder: Path, *arguments: str) -> str:
    """Git's answer; empty where there is no Git, no checkout or no answer."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
