"""What earlier runs left in a root and nothing needs any more, and its removal.

Kept: all that the newest complete runs read or wrote, and all that was begun since the oldest of them; every model that
a release names; checkpoints. What is removed could be made again by the configuration that made it.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import stat_result
from pathlib import Path
from time import time

from lesions.slices import PLANES
from pipeline import executions
from serving.predictor import newest_version
from serving.releases import released, versions
from trainer.record_store import PARTIAL

STAGING = 3600.0  # seconds after which nobody copies a model any more
ARTIFACTS, RECORDS, MODELS = "artifacts", "records", "serving_models"


@dataclass(frozen=True)
class Waste:
    """A folder that may go.

    Attributes:
        kind: artifacts, records or serving_models.
        folder: To be removed, whole.
    """

    kind: str
    folder: Path


def find(root: Path, keep: int) -> list[Waste]:
    """What may go; removes nothing.

    Args:
        root: Of runs.
        keep: So many complete runs stay, 1 or more; runs that differ in nothing count once.

    Returns:
        Nothing of runs where there are not more complete ones.

    Raises:
        InputError: No run is there.
    """
    database = executions.database_of(root)
    found = [Waste(MODELS, folder) for folder in _models(root / MODELS)]
    if kept := executions.kept(database, keep):
        old = list(_artifacts(root / ARTIFACTS, kept))
        found += [Waste(ARTIFACTS, folder) for folder in old]
        found += [Waste(RECORDS, folder) for folder in _records(root / RECORDS, old, kept.began)]
    return found


def remove(root: Path, found: Sequence[Waste]) -> None:
    """Removes what was found; interrupted, it may be called again."""
    artifacts = [one.folder for one in found if one.kind == ARTIFACTS]
    if artifacts:
        executions.forget(executions.database_of(root), artifacts)
    for one in found:
        shutil.rmtree(one.folder)


def freed(folders: Iterable[Path]) -> int:
    """Bytes that the disk gains: a file with several names is gone when all of them are."""
    files = [facts for folder in folders for facts in _files(folder)]
    names = Counter(_same(facts) for facts in files)
    sizes = {_same(facts): facts.st_size for facts in files if names[_same(facts)] == facts.st_nlink}
    return sum(sizes.values())


def _artifacts(folder: Path, kept: executions.Kept) -> Iterator[Path]:
    """Of executions before the kept runs that these do not use."""
    for path in sorted(folder.glob("*/*/*")):
        numbered = path.is_dir() and path.name.isdecimal() and path.parent.name[0] != "."
        if numbered and int(path.name) < kept.first and executions.tail(path) not in kept.artifacts:
            yield path


def _records(folder: Path, old: Iterable[Path], began: float) -> Iterator[Path]:
    """Entries older than the kept runs that only artifacts that go are linked to.

    Where no entry is linked anywhere else, artifacts have copies, and none can be told to be of no use.
    """
    going = Counter(_same(facts) for artifact in old for facts in _files(artifact))
    entries = [path for path in sorted(folder.glob("*/*")) if path.is_dir() and path.parent.name != PARTIAL]
    elsewhere = {
        path: any(facts.st_nlink > 1 + going[_same(facts)] for facts in _files(path)) for path in entries
    }
    if any(elsewhere.values()):
        yield from (path for path in entries if not elsewhere[path] and path.stat().st_mtime < began)


def _models(folder: Path) -> Iterator[Path]:
    """Versions that no release names and none serves, and copies that killed pushes left."""
    named = {(plane, str(number)) for one in released(folder) for plane, number in versions(one).items()}
    for plane in PLANES:
        newest = newest_version(folder / plane)
        for path in sorted((folder / plane).glob("*")):
            older = path.name.isdecimal() and newest is not None and int(path.name) < int(newest.name)
            left = path.name.startswith(".staged-") and time() - path.stat().st_mtime > STAGING
            if left or (older and (plane, path.name) not in named):
                yield path


def _files(folder: Path) -> Iterator[stat_result]:
    return (path.stat() for path in folder.rglob("*") if path.is_file())


def _same(facts: stat_result) -> tuple[int, int]:
    """What the names of one file have in common."""
    return facts.st_dev, facts.st_ino
