"""Compose 2: the one that is installed, or one that is built from its Go module once and kept."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.deploy.engine import CACHE, Engine, UnavailableError

MODULE, VERSION = "github.com/docker/compose/v2", "v2.40.3"


def command(engine: Engine) -> list[str]:
    """What `docker compose` is here. Raises UnavailableError with the reason where it cannot be had."""
    found = engine.ask("compose", "version", "--short")
    if found.returncode == 0 and found.stdout.strip().lstrip("v").startswith("2."):
        return [engine.client, "compose"]
    program = CACHE / f"docker-compose-{VERSION}"
    if not program.is_file():
        if not shutil.which("go"):
            raise UnavailableError("no Compose 2 is installed, and no Go to build it with: https://go.dev/dl")
        _build(program)
    return [str(program)]


def _build(program: Path) -> None:
    """`go install` refuses the module, because its go.mod replaces others: a copy of its folder is built."""
    asked = subprocess.run(
        ["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"], cwd="/", capture_output=True, text=True
    )
    if asked.returncode:
        raise UnavailableError(
            f"{MODULE}@{VERSION} cannot be had: {asked.stdout[-500:]}{asked.stderr[-500:]}"
        )
    program.parent.mkdir(parents=True, exist_ok=True)
    partial = program.with_name(f"{program.name}.{os.getpid()}.partial")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "compose"
        shutil.copytree(json.loads(asked.stdout)["Dir"], source)
        for path in (source, *source.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)  # Go's cache of modules cannot be written
        done = subprocess.run(
            ["go", "build", "-o", partial, "./cmd"], cwd=source, capture_output=True, text=True
        )
    if done.returncode:
        raise UnavailableError(f"Compose {VERSION} cannot be built: {done.stderr[-1000:]}")
    partial.rename(program)
