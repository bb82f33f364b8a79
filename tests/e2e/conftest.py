"""Real processes of `raxnet` on a phantom, and the folders that they leave."""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest
import yaml

from lesions.phantom import make_cohort
from tests.conftest import SMALLEST
from tests.e2e.warm import Warm

SETTINGS = {
    "planes": ["axial"],
    "split": {"folds": 3, "holdout": 0.2, "seed": 0},
    "training": {"batch_size": 8, "epochs": 1, "batch_norm_momentum": 0.8, "network_options": SMALLEST},
    "gates": {"slice_dice": 0.0, "fused_dice": 0.0, "fold_drift": 0.5},
}

# Of short trainings that are compared, interrupted and gone on with.
TRAINING = SETTINGS["training"] | {"epochs": 2, "batch_norm_slices": 64}
BEHIND_GATES = {"Blesser", "Pusher_axial", "Release", "ReportGen"}  # no model runs in any of them


def environment():
    """This process's, less what the tests set to keep their own TensorFlow quiet."""
    return {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}


def cold_raxnet(*arguments, **options):
    """Runs the command as a user does; returns the completed process with its output as text."""
    command = [sys.executable, "-m", "pipeline.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment(), **options)


@cache
def warm():
    """The process of this test run that forks commands."""
    folder = tempfile.TemporaryDirectory(prefix="raxnet-warm-")
    atexit.register(folder.cleanup)
    process = Warm(Path(folder.name))
    atexit.register(process.stop)  # before the folder goes
    return process


def raxnet(*arguments):
    """Runs the command in a process that finds TensorFlow and TFX imported; else as `cold_raxnet`."""
    return warm().run("pipeline.cli.main", arguments, env=environment())


def write_config(path: Path, data: Path, root: Path, **changes) -> Path:
    content = {"data": str(data), "root": str(root)} | SETTINGS | changes
    path.write_text(yaml.safe_dump(content))
    return path


def run(config: Path) -> dict:
    """`raxnet run --json`, which must succeed."""
    done = raxnet("run", config, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def executed(done: dict) -> set[str]:
    return {step for step, state in done["steps"].items() if state == "executed"}


def newest(root: Path, pattern: str) -> Path:
    """The newest file or folder of that pattern among a root's artifacts."""
    return max(root.glob(f"artifacts/{pattern}"), key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture(scope="session")
def phantom(tmp_path_factory):
    """14 subjects, 6 mm."""
    folder = tmp_path_factory.mktemp("phantom") / "data"
    make_cohort(folder, 14, seed=4, spacing=6.0, workers=1)
    return folder


@pytest.fixture(scope="session")
def finished(phantom, tmp_path_factory):
    """A finished run: its configuration, its root, what `raxnet run --json` said, and the root as it was then, copied.

    Who runs more in the root is no nuisance to who reads the copy.
    """
    folder = tmp_path_factory.mktemp("run")
    config = write_config(folder / "run.yaml", phantom, folder / "root")
    done = run(config)
    shutil.copytree(folder / "root", folder / "copy")
    return config, folder / "root", done, folder / "copy"


@pytest.fixture(scope="session")
def ran(finished):
    """A finished run: its configuration, root and what `raxnet run --json` said."""
    return finished[:3]
