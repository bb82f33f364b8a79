"""Releases: which versions of the planes belong together, in <models>/releases/<id>.json; and the way back to one.

A version's number is never used twice and servers take the highest, so an earlier release comes back as new versions
of its models, in a new release that says which one it restores. Nothing that was released is changed or removed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import filelock

from lesions.errors import InputError
from lesions.push import staged
from lesions.slices import PLANES
from serving.predictor import folder_digest, newest_version

RELEASES = "releases"
LOCK = ".lock"


def publish(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Writes a release under a new id: to a temporary name, then linked, so that no id is ever overwritten.

    Args:
        content: What it says; `id` and `created` are added.
        folder: Of the releases; made if missing.

    Returns:
        All that it says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stamp, number = datetime.now(timezone.utc), 0
    partial = folder / f".partial-{os.getpid()}"
    while True:
        name = stamp.strftime("%Y%m%dT%H%M%SZ") + (f"-{number}" if number else "")
        written = {**content, "id": name, "created": stamp.isoformat()}
        partial.write_text(json.dumps(written, indent=2) + "\n")
        try:
            os.link(partial, folder / f"{name}.json")
        except FileExistsError:
            number += 1
            continue
        finally:
            partial.unlink()
        return written


def released(models: Path) -> list[dict[str, Any]]:
    """What the releases say, the last made last; files that are no releases are passed over."""
    found = []
    for path in (models / RELEASES).glob("*.json"):
        try:
            content = json.loads(path.read_text())
            versions(content)
            found.append((content["created"], len(content["id"]), content["id"], content))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return [content for *_, content in sorted(found, key=lambda one: one[:3])]


def newest_release(models: Path) -> dict[str, Any] | None:
    """The content of the release made last, None where nothing was released yet."""
    return next(reversed(released(models)), None)


def versions(release: Mapping[str, Any]) -> dict[str, int]:
    """Plane to version of a release."""
    return {plane: int(model["version"]) for plane, model in release["models"].items()}


def served(models: Path) -> dict[str, int]:
    """Plane to version, as a server takes them from the folder: the highest of each."""
    newest = {plane: newest_version(models / plane) for plane in PLANES}
    return {plane: int(version.name) for plane, version in newest.items() if version}


def roll_back(models: Path, name: str) -> dict[str, Any]:
    """Makes an earlier release's models the newest again.

    All are copied first and named then, so that a server sees a mixture for an instant at most.

    Args:
        models: Folder with <plane>/<version>.
        name: The release's id.

    Returns:
        The release that is served now: the one asked for, where it is served already.

    Raises:
        InputError: No such release, its models are gone or not what was released, planes are served that it lacks,
            or the folder cannot be written.
    """
    content = {one["id"]: one for one in released(models)}.get(name)
    if content is None:
        raise InputError(f"{models / RELEASES}: no release {name}; `raxnet rollback` lists them")
    try:
        with filelock.FileLock(models / RELEASES / LOCK):
            now = served(models)
            if versions(content) == now:
                return content
            _check(models, content, now)
            return _restore(models, content)
    except OSError as error:
        raise InputError(f"{models}: cannot be written ({error.strerror}); check its rights") from None


def _restore(models: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    with ExitStack() as stack:
        copies = {
            plane: stack.enter_context(staged(models / plane / str(number), models / plane))
            for plane, number in versions(content).items()
        }
        restored = {
            plane: {**content["models"][plane], "version": copy.take_place()}
            for plane, copy in copies.items()
        }
    again = {**content, "models": restored, "restores": content.get("restores", content["id"])}
    return publish(again, models / RELEASES)


def _check(models: Path, content: Mapping[str, Any], now: Mapping[str, int]) -> None:
    """Raises InputError where a release cannot come back."""
    name = content["id"]
    for plane, number in versions(content).items():
        folder = models / plane / str(number)
        if not folder.is_dir():
            raise InputError(f"{folder}: gone; release {name} needs it, choose another")
        if folder_digest(folder) != content["models"][plane]["sha256"]:
            raise InputError(f"{folder}: not what was released as {name}; choose another release")
    if more := [plane for plane in now if plane not in content["models"]]:
        raise InputError(
            f"{models}: {', '.join(more)} would go on being served beside release {name}, which has only "
            f"{', '.join(versions(content))}; move {', '.join(str(models / plane) for plane in more)} away first"
        )
