"""Finds scans and lesion masks: in ATLAS's cohort tree, its BIDS form, or another BIDS derivative."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesions.errors import InputError
from lesions.grid import SPACE
from lesions.nifti import DECRYPT, is_encrypted

# Folders that hold `sub-*`, in order; the first group with lesion masks is taken (docs/spec/method.md#data-set).
_TREES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("cohort", ("Training/*", "Testing/*")),
    ("cohort", ("*/Training/*", "*/Testing/*")),
    ("bids", (".",)),
    ("bids", ("train/derivatives/ATLAS", "test/derivatives/ATLAS")),
    ("bids", ("*/train/derivatives/ATLAS", "*/test/derivatives/ATLAS")),
    ("bids", ("train", "test")),
    ("bids", ("derivatives/*",)),
    ("bids", (".", "derivatives/*")),  # raw T1w at the root, masks in a derivative
    ("bids", ("rawdata", "derivatives/*")),
    ("cohort", ("R[0-9]*",)),
)
_NAME = re.compile(
    r"(?P<subject>sub-[A-Za-z0-9]+)(?:_(?P<session>ses-[A-Za-z0-9]+))?"
    r"(?P<entities>(?:_[a-z]+-[A-Za-z0-9+]+)*)_(?:T1w|mask)\.nii(?:\.gz)?"
)
_LESION = re.compile(r"_label-(?:L|[Ll]esion)(?=_|$)|_desc-[A-Za-z0-9]*[Ll]esion")
_OURS = "_desc-raxnet"  # masks that this product wrote are no truth
_PHANTOM = "raxnet phantom"


@dataclass(frozen=True)
class Scan:
    """One T1-weighted scan of one session; `session` is empty, `mask` None where there is none."""

    subject: str
    session: str
    image: Path
    mask: Path | None


@dataclass(frozen=True)
class Conflict:
    """Files of which only a person can say which is meant; their session is among no data set's scans.

    Attributes:
        subject: Its id.
        session: Empty where there is none.
        files: The first is the one to name.
        problem: What is wrong, in a few words.
        expected: What should be there.
    """

    subject: str
    session: str
    files: tuple[Path, ...]
    problem: str
    expected: str


@dataclass(frozen=True)
class Dataset:
    """A data set as it lies on the disk, nothing opened yet.

    Attributes:
        root: The folder that was given.
        layout: "cohort" (ATLAS as downloaded) or "bids".
        name: What pages and models call it.
        phantom: True where `raxnet phantom` made it.
        scans: Sorted by subject and session; test subjects have no mask.
        conflicts: Sorted likewise: duplicate and misplaced files.
    """

    root: Path
    layout: str
    name: str
    phantom: bool
    scans: tuple[Scan, ...]
    conflicts: tuple[Conflict, ...] = ()

    @property
    def labeled(self) -> tuple[Scan, ...]:
        """The scans with a mask: those that can be trained on."""
        return tuple(scan for scan in self.scans if scan.mask is not None)


@dataclass(frozen=True)
class _Files:
    layout: str
    folders: tuple[Path, ...]  # those that hold `sub-*`
    images: list[Path]
    masks: list[Path]


def discover(root: str | Path) -> Dataset:
    """Lists the scans of a data set; opens no image.

    Args:
        root: ATLAS's folder (with Training/ and Testing/), the root of a bidsified tree, or a BIDS
            derivative.

    Raises:
        InputError: No such folder, no scan, or no lesion mask.
    """
    root = Path(root)
    if not root.is_dir():
        if root.is_file():
            _refuse_archive(root)
        raise InputError(f"{root}: no such folder; give the folder of the data set")
    files = _search(root)
    scans, conflicts = _pair(files)
    name, phantom = _describe(root, files.folders)
    return Dataset(root, files.layout, name, phantom, scans, conflicts)


def digest(dataset: Dataset) -> str:
    """SHA-256, hex, over relative path, size and modification time of every image and mask."""
    sha = hashlib.sha256()
    used = [path for scan in dataset.scans for path in (scan.image, scan.mask) if path is not None]
    for path in [*used, *(path for conflict in dataset.conflicts for path in conflict.files)]:
        try:
            stat = path.stat()
            facts = f"{stat.st_size} {stat.st_mtime_ns}"
        except OSError:
            facts = "missing"
        sha.update(f"{path.relative_to(dataset.root).as_posix()}\0{facts}\n".encode())
    return sha.hexdigest()


def is_testing(dataset: Dataset, scan: Scan) -> bool:
    """True for ATLAS's Testing subjects, which come without masks by design."""
    parts = scan.image.relative_to(dataset.root).parts
    return any(part.lower() in ("testing", "test") for part in parts[:-1])


def _search(root: Path) -> _Files:
    unmasked = None
    for layout, patterns in _TREES:
        folders = tuple(
            sorted({f for p in patterns for f in ([root] if p == "." else root.glob(p)) if f.is_dir()})
        )
        found = _list(layout, folders)
        if found.images and found.masks:
            return found
        if found.images and unmasked is None:
            unmasked = found
    if unmasked is None:
        for archive in sorted(root.glob("*.tar.gz")):
            _refuse_archive(archive)
        raise InputError(
            f"{root}: no scan found; expected Training/R*/sub-*/ses-*/anat or sub-*/ses-*/anat "
            "with files that end in _T1w.nii.gz"
        )
    raise InputError(
        f"{root}: {unmasked.layout} tree with {len(unmasked.images)} scans but no lesion mask; "
        "expected files like *_label-L_desc-T1lesion_mask.nii.gz beside the scans"
    )


def _refuse_archive(path: Path) -> None:
    """Says what to do first with what was downloaded: decrypt it, or unpack it."""
    try:
        encrypted = is_encrypted(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    if encrypted:
        raise InputError(f"{path}: still encrypted; {DECRYPT}, then unpack it and give the folder")
    if path.name.endswith((".tar.gz", ".tgz", ".tar", ".zip")):
        raise InputError(f"{path}: still packed; unpack it and give the folder")


def _list(layout: str, folders: Iterable[Path]) -> _Files:
    folders = tuple(folders)
    images, masks = [], []
    for folder in folders:
        for pattern in ("sub-*/ses-*/anat", "sub-*/anat"):
            images += [p for p in folder.glob(f"{pattern}/sub-*_T1w.nii*") if _NAME.fullmatch(p.name)]
            masks += [p for p in folder.glob(f"{pattern}/sub-*_mask.nii*") if _is_lesion_mask(p.name)]
    return _Files(layout, folders, images, masks)


def _is_lesion_mask(name: str) -> bool:
    match = _NAME.fullmatch(name)
    return bool(match and _OURS not in match["entities"] and _LESION.search(match["entities"]))


def _key(path: Path) -> tuple[str, str]:
    """(subject, session) by the name."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ValueError(f"not a BIDS name: {path.name}")
    return match["subject"], match["session"] or ""


def _pair(files: _Files) -> tuple[tuple[Scan, ...], tuple[Conflict, ...]]:
    """Every session's scan and mask; sessions with too many of either, and misplaced files, are conflicts."""
    conflicts = [_misplaced(path) for path in sorted({*files.images, *files.masks}) if not _in_place(path)]
    images, masks = _group(files.images), _group(files.masks)
    scans = []
    for key in sorted(images.keys() | masks.keys()):
        own_masks = _narrowed(masks.get(key, []), {"space": SPACE})
        wanted = _entities(own_masks[0]) if own_masks else {"space": SPACE}
        own_images = _narrowed(images.get(key, []), wanted)
        if files.layout == "bids" and own_masks:
            own_images = [p for p in own_images if p.parent == own_masks[0].parent] or own_images
        found = [
            _duplicate(key, paths, what)
            for paths, what in ((own_images, "T1w scan"), (own_masks, "lesion mask"))
            if len(paths) > 1
        ]
        conflicts += found
        if not found:
            mask = own_masks[0] if own_masks else None
            # A scan that is not there is said to be missing by `lesions.checks`.
            image = own_images[0] if own_images else own_masks[0].with_name(_scan_name(own_masks[0]))
            scans.append(Scan(*key, image, mask))
    conflicts.sort(key=lambda conflict: (conflict.subject, conflict.session, conflict.files))
    return tuple(scans), tuple(conflicts)


def _group(paths: Iterable[Path]) -> dict[tuple[str, str], list[Path]]:
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in sorted(filter(_in_place, paths)):
        groups[_key(path)].append(path)
    return groups


def _in_place(path: Path) -> bool:
    """Whether the folders belong to the subject and session of the name."""
    subject, session = _key(path)
    return subject in path.parts and (not session or session in path.parts)


def _misplaced(path: Path) -> Conflict:
    named = " ".join(_key(path)).strip()
    return Conflict(*_key(path), (path,), "name and folder disagree", f"a folder of {named}")


def _duplicate(key: tuple[str, str], paths: list[Path], what: str) -> Conflict:
    apart = len({path.parent for path in paths}) > 1
    problem = "duplicate subject" if apart else f"more than one {what}"
    return Conflict(*key, tuple(paths), problem, f"one {what} for a subject and session")


def _entities(path: Path) -> dict[str, str]:
    """What a BIDS name says beside subject and session, without what is only said of a mask."""
    match = _NAME.fullmatch(path.name)
    pairs = re.findall(r"_([a-z]+)-([A-Za-z0-9+]+)", match["entities"]) if match else []
    return {key: value for key, value in pairs if key not in ("label", "desc")}


def _narrowed(paths: list[Path], wanted: dict[str, str]) -> list[Path]:
    """Of several files of a session those with all the wanted entities, else those in the wanted space, else all."""
    if len(paths) < 2:
        return paths
    same = [path for path in paths if _entities(path) == wanted]
    for key in ("space", "res"):
        paths = [path for path in paths if _entities(path).get(key) == wanted.get(key)] or paths
    return same or paths


def _scan_name(mask: Path) -> str:
    return re.sub(r"(_label-[^_]+|_desc-[^_]+)*_mask(\.nii(\.gz)?)$", r"_T1w\2", mask.name)


def _describe(root: Path, folders: tuple[Path, ...]) -> tuple[str, bool]:
    """Name of the data set, and whether it is a phantom: a single phantom cohort makes it one."""
    top = _description(root)
    descriptions = [top] if top else [d for d in map(_description, folders) if d]
    phantom = any(_is_phantom(d) for d in [*descriptions, *map(_description, folders)])
    names = {str(d["Name"]) for d in descriptions if d.get("Name")}
    if len(names) == 1:
        return names.pop(), phantom
    near = [*root.resolve().parts[-2:], *(p for f in folders for p in f.relative_to(root).parts[:1])]
    atlas = any(re.match(r"atlas", part, re.IGNORECASE) for part in near)
    return ("ATLAS v2.0" if atlas else root.resolve().name), phantom


def _description(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / "dataset_description.json").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_phantom(description: dict[str, Any]) -> bool:
    made_by = description.get("GeneratedBy")
    makers = made_by if isinstance(made_by, list) else []
    return any(isinstance(m, dict) and m.get("Name") == _PHANTOM for m in makers)
