"""What Git has of a tree."""

import shutil
import subprocess
from pathlib import Path


def in_git(root: Path) -> list[str] | None:
    """The names of the files that Git has; None for a tree without Git, as of a source archive."""
    if not (root / ".git").exists() or not shutil.which("git"):
        return None
    done = subprocess.run(["git", "-C", root, "ls-files", "-z"], capture_output=True, text=True, check=False)
    return [name for name in done.stdout.split("\0") if name] if done.returncode == 0 else None
