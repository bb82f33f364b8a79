"""Which versions of which models are served: the newest loaded, replaced ones drained.

How TensorFlow Serving does it: docs/spec/tensorflow_serving.md#version-folders.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lesions.errors import InputError
from lesions.progress import LOGGER
from serving.rest_api.errors import RestError, invalid
from serving.rest_api.signature import Signature
from serving.rest_api.urls import LARGEST, Target
from serving.worker import Worker

log = logging.getLogger(LOGGER)
COMPLETE = "saved_model.pb"  # Pusher's copy of a version has it last
Found = dict[str, dict[int, Path]]


@dataclass
class Version:
    """One version of a model.

    Attributes:
        number: The folder's name.
        folder: The SavedModel.
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        error: Why it could not be loaded.
        signatures: Of the model, by name.
        files: What its folder held when it could not be loaded; tried again when that changes.
        busy: Requests being answered.
        asked: When it was asked last or replaced, by the monotonic clock.
        replaced: True once a newer one serves.
    """

    number: int
    folder: Path
    state: str = "START"
    error: RestError | None = None
    signatures: dict[str, Signature] = field(default_factory=dict)
    files: tuple[Any, ...] = ()
    busy: int = 0
    asked: float = 0.0
    replaced: bool = False

    def as_json(self, up: bool) -> dict[str, Any]:
        """As the status has it; a model waits for a process that is being started anew."""
        state = "LOADING" if self.state == "AVAILABLE" and not up else self.state
        code, message = (self.error.code, self.error.message) if self.error else ("OK", "")
        status = {"error_code": code, "error_message": message}
        return {"version": str(self.number), "state": state, "status": status}


class ModelStore:
    """The models of a folder, <folder>/<name>/<version>/saved_model.pb."""

    def __init__(
        self,
        folder: Path,
        worker: Worker,
        labels: Mapping[tuple[str, str], int] | None = None,
        drain: float = 60.0,
    ):
        """Watches nothing yet; see `refresh`.

        Args:
            folder: Of the models.
            worker: Loads them.
            labels: (model, label) -> version; such versions stay loaded.
            drain: Seconds that a replaced version is kept after it was asked last.
        """
        self.folder, self.worker, self.labels, self.drain = folder, worker, dict(labels or {}), drain
        self.models: dict[str, dict[int, Version]] = {}

    async def refresh(self) -> None:
        """Looks at the folder; loads what is new, unloads what has been replaced and is not asked any more."""
        for name, found in (await asyncio.to_thread(scan, self.folder)).items():
            await self._refresh(name, found)

    def available(self) -> dict[str, int]:
        """The version that each model's name stands for."""
        newest = {name: self._newest(name) for name in self.models}
        return {name: version.number for name, version in newest.items() if version}

    def failed(self) -> dict[str, RestError]:
        """Of the models of which no version could be loaded, why the newest could not."""
        reasons = {}
        for name, versions in self.models.items():
            error = versions[max(versions)].error
            if error and not self._newest(name):
                reasons[name] = error
        return reasons

    def status(self, target: Target) -> dict[str, Any]:
        """The answer to a request for a model's status. Raises RestError where there is no such model or version."""
        versions = self.models.get(target.model, {})
        if not versions:
            raise RestError("NOT_FOUND", f"Could not find any versions of model {target.model}")
        if target.version is not None and target.version not in versions:
            text = f"Could not find version {target.version} of model {target.model}"
            raise RestError("NOT_FOUND", text)
        wanted = sorted(versions, reverse=True) if target.version is None else [target.version]
        return {"model_version_status": [versions[number].as_json(self.worker.up) for number in wanted]}

    def find(self, target: Target) -> Version:
        """The version that an address means. Raises RestError where it is not served."""
        name = target.model
        number = target.version
        if target.label is not None:
            number = self.labels.get((name, target.label))
            if number is None or not self._serves(name, number):
                raise invalid(f"Unrecognized servable version label: {target.label}")
        version = self._newest(name) if number is None else self.models.get(name, {}).get(number)
        if not version or version.state != "AVAILABLE":
            which = f"Latest({name})" if number is None else f"Specific({name}, {number})"
            raise RestError("NOT_FOUND", f"Servable not found for request: {which}")
        return version

    @contextmanager
    def using(self, version: Version) -> Iterator[None]:
        """Keeps a version loaded while a request is answered."""
        version.busy += 1
        try:
            yield
        finally:
            version.busy -= 1
            version.asked = time.monotonic()

    def _serves(self, name: str, number: int) -> bool:
        version = self.models.get(name, {}).get(number)
        return version is not None and version.state == "AVAILABLE"

    def _newest(self, name: str) -> Version | None:
        serving = (
            [v for v in self.models[name].values() if v.state == "AVAILABLE"] if name in self.models else []
        )
        kept = [version for version in serving if not version.replaced] or serving
        return max(kept, key=lambda version: version.number, default=None)

    async def _refresh(self, name: str, found: dict[int, Path]) -> None:
        versions = self.models.setdefault(name, {})
        wanted = None
        for number in sorted(found, reverse=True):
            if await self._loaded(name, number, found[number]):
                wanted = number
                break
        if wanted is None:  # nothing usable in the folder: what is in memory goes on
            return
        labeled = [n for (model, _), n in self.labels.items() if model == name and n in found]
        keep = {wanted, *[number for number in labeled if await self._loaded(name, number, found[number])]}
        for version in versions.values():
            if version.state == "AVAILABLE":
                await self._retire(name, version, version.number in keep)

    async def _loaded(self, name: str, number: int, folder: Path) -> bool:
        """Whether a version is served, after loading it where it is new or its files have changed."""
        version = self.models[name].setdefault(number, Version(number, folder))
        if version.state == "AVAILABLE":
            return True
        files = await asyncio.to_thread(_listing, folder)
        if version.error and version.files == files:
            return False
        version.state, version.error, version.files = "LOADING", None, files
        try:
            version.signatures = await self.worker.load(name, number, folder)
        except RestError as error:
            if error.code == "UNAVAILABLE":  # the process is being started anew; the next look tries again
                version.state, version.files = "START", ()
                return False
            version.state, version.error = "END", error
            log.warning("%s %d cannot be loaded: %s", name, number, error.message)
            return False
        version.state, version.replaced = "AVAILABLE", False
        log.info("%s %d is served", name, number)
        return True

    async def _retire(self, name: str, version: Version, wanted: bool) -> None:
        if wanted or not version.replaced:
            version.replaced = not wanted
            version.asked = time.monotonic()
        if wanted or version.busy or time.monotonic() - version.asked < self.drain:
            return
        version.state = "UNLOADING"
        with suppress(RestError):  # a process started anew does not load it again
            await self.worker.unload(name, version.number)
        version.state = "END"
        log.info("%s %d is no longer served", name, version.number)


def scan(folder: Path) -> Found:
    """Models and their complete versions in a folder; other names than numbers are passed over.

    Raises:
        InputError: The folder cannot be read.
    """
    found: Found = {}
    try:
        for model in sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."):
            numbers = [path for path in model.iterdir() if path.name.isascii() and path.name.isdigit()]
            versions = {int(path.name): path for path in numbers if (path / COMPLETE).is_file()}
            if versions := {number: path for number, path in versions.items() if number <= LARGEST}:
                found[model.name] = versions
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); check the path") from None
    return found


def _listing(folder: Path) -> tuple[Any, ...]:
    """Names, sizes and times of a folder's files."""
    try:
        files = [(path.relative_to(folder).as_posix(), path.stat()) for path in sorted(folder.rglob("*"))]
    except OSError:  # changed while it was read
        return (time.monotonic(),)
    return tuple((name, facts.st_size, facts.st_mtime_ns) for name, facts in files)
