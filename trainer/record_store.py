"""Records kept by content, outside TFX's artifacts: what was ingested once is linked, not written again.

An entry is a subject's shards and indexes of all planes, in <store>/<code>/<key>/. Its key is a digest of the scan's
and the mask's bytes, the subject's id and the grid; `code` is a digest of the code that makes records. Nothing in it
depends on folds or on other subjects. An entry is made under another name and renamed when it is whole, so any number
of writers, killed at any time, leave whole entries or none.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lesions.dataset import Scan
from lesions.errors import InputError
from lesions.grid import Grid
from lesions.slices import Slice
from trainer import records

FACTS = "entry.json"
PARTIAL = "partial"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class RecordStore:
    """A folder of entries.

    Attributes:
        folder: Of the store; on any file system that all workers see.
        code: Digest of the code that makes records.
    """

    folder: Path
    code: str

    def key(self, scan: Scan, grid: Grid) -> str:
        """What the subject's records depend on, as 32 hexadecimal digits. Reads both files once.

        Raises:
            InputError: One cannot be read.
        """
        sha = hashlib.sha256(f"{scan.subject}\0{json.dumps(grid.as_json())}\0".encode())
        for path in (scan.image, scan.mask):
            sha.update(_digest(path))
        return sha.hexdigest()[:32]

    def find(self, key: str) -> Path | None:
        """An entry that is whole; one that is damaged is removed.

        Whole: the files that were written are there, shards with their length and indexes with their content. The
        records' own checksums are TFRecord's.
        """
        entry = self.folder / self.code / key
        try:
            facts = json.loads((entry / FACTS).read_text())
            if facts == _facts(entry, facts):
                return entry
        except (OSError, ValueError, TypeError, AttributeError):
            if not entry.exists():
                return None
        self._remove(entry)
        return None

    def add(self, key: str, slices: Mapping[str, Iterable[Slice]]) -> Path:
        """Writes an entry.

        Args:
            key: Its name.
            slices: The subject's slices, by plane.

        Returns:
            The entry: this one, or another worker's that came first.
        """
        entry, partial = self.folder / self.code / key, self._partial(key)
        partial.mkdir(parents=True)
        try:
            for plane, some in slices.items():
                records.write_files(partial / f"{plane}.tfrecord", partial / f"{plane}.npy", some)
            (partial / FACTS).write_text(json.dumps(_facts(partial, slices)))
            entry.parent.mkdir(parents=True, exist_ok=True)
            partial.rename(entry)
        except OSError:
            if self.find(key) is None:
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return entry

    def bytes_kept(self) -> int:
        """What its entries take on the disk."""
        return sum(path.stat().st_size for path in (self.folder / self.code).glob("*/*"))

    def tidy(self) -> None:
        """Removes what other code made, and what killed workers left; to be called when nobody writes."""
        for folder in self.folder.iterdir() if self.folder.is_dir() else ():
            if folder.name != self.code:
                shutil.rmtree(folder, ignore_errors=True)

    def _partial(self, key: str) -> Path:
        return self.folder / PARTIAL / f"{key}.{uuid.uuid4().hex}"

    def _remove(self, entry: Path) -> None:
        """Under another name first: another worker may be looking for it."""
        away = self._partial(entry.name)
        away.parent.mkdir(parents=True, exist_ok=True)
        try:
            entry.rename(away)
        except OSError:
            return  # another worker was quicker
        shutil.rmtree(away, ignore_errors=True)


def place(entry: Path, plane: str, examples: Path, fold: int, subject: str) -> None:
    """Puts a plane's shard and index into an Examples artifact, the shard last; what is there gives way.

    Hard links where the file system has them, else copies.

    Args:
        entry: Of the store.
        plane: axial, sagittal or coronal.
        examples: Folder of the plane's Examples artifact.
        fold: From 1.
        subject: Its id.
    """
    targets = {
        f"{plane}.npy": records.index_path(examples, fold, subject),
        f"{plane}.tfrecord": records.shard_path(examples, fold, subject),
    }
    for name, target in targets.items():
        partial = examples / PARTIAL / f"{subject}.{uuid.uuid4().hex}"
        for folder in (target.parent, partial.parent):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            try:
                os.link(entry / name, partial)
            except FileNotFoundError:
                raise
            except OSError:
                shutil.copyfile(entry / name, partial)
            # A rename of one link of a file onto another of the same does nothing, and leaves both.
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


def _digest(path: Path | None) -> bytes:
    """SHA-256 of a file's bytes; of none, nothing."""
    sha = hashlib.sha256()
    if path is None:
        return sha.digest()
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                sha.update(block)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check the file and its rights"
        ) from None
    return sha.digest()


def _facts(entry: Path, planes: Iterable[str]) -> dict[str, list[int | str]]:
    """Plane -> length of its shard, digest of its index. Raises OSError."""
    return {
        plane: [
            (entry / f"{plane}.tfrecord").stat().st_size,
            hashlib.sha256((entry / f"{plane}.npy").read_bytes()).hexdigest()[:16],
        ]
        for plane in planes
    }
