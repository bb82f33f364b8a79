"""Names of a BIDS derivative: which scans a user means, and what their masks are called."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesions.errors import InputError
from lesions.grid import SPACE

BIDS_VERSION = "1.9.0"
LABEL = "label-L"  # BIDS' own abbreviation of lesion, and ATLAS's
DESC = "desc-raxnet"
ORIGINAL = "space-orig"  # the grid of a scan that lies in no standard space
UNCERTAINTY = "desc-uncertainty"  # of the map of where the planes disagree
NIFTI = (".nii.gz", ".nii")
_MASKS = tuple(f"_{kind}{suffix}" for kind in ("mask", "probseg", "dseg") for suffix in NIFTI)

# Where `sub-*` folders lie: BIDS, ATLAS as downloaded, one folder up, one cohort, ATLAS in BIDS.
_TREES: tuple[tuple[str, ...], ...] = (
    (".",),
    ("Training/R*", "Testing/R*"),
    ("*/Training/R*", "*/Testing/R*"),
    ("R[0-9]*",),
    ("train/derivatives/ATLAS", "test/derivatives/ATLAS"),
)
_ANAT = ("sub-*/anat", "sub-*/ses-*/anat")
_NAME = re.compile(r"sub-[A-Za-z0-9]+(_[a-z]+-[A-Za-z0-9+]+)*_T1w")


@dataclass(frozen=True)
class InputScan:
    """A scan to segment.

    Attributes:
        path: The NIfTI file.
        root: The folder that its source is named from: the data set's, or its own.
        entities: What its outputs are named by, for example ("sub-1", "ses-2", "space-MNI152NLin2009aSym").
    """

    path: Path
    root: Path
    entities: tuple[str, ...]

    @property
    def subject(self) -> str:
        """For example sub-r001s001."""
        return self.entities[0]

    @property
    def session(self) -> str | None:
        """For example ses-1; None where the name has none."""
        return next((e for e in self.entities if e.startswith("ses-")), None)

    @property
    def label(self) -> str:
        """Subject and session, for people."""
        return " ".join(filter(None, (self.subject, self.session)))

    @property
    def link(self) -> str:
        """The name of `root` in the derivative's DatasetLinks: the same in each run."""
        digest = hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()
        return f"input{digest[:8]}"

    @property
    def source(self) -> str:
        """The scan as a BIDS URI."""
        return f"bids:{self.link}:{self.path.relative_to(self.root).as_posix()}"

    def output(self, out: Path, ending: str, desc: str = DESC) -> Path:
        """The derivative's file; `ending` is for example "mask.nii.gz".

        Source entities stay whole, `space` too: the grid is the scan's own. A scan that names no space is in its
        own, `space-orig` (docs/spec/practice.md#derivative-names). Label and description come last.
        """
        kept = [e for e in self.entities if not e.startswith(("label-", "desc-"))]
        if not any(e.startswith("space-") for e in kept):
            place = next((i for i, e in enumerate(kept) if e.startswith(("res-", "den-"))), len(kept))
            kept.insert(place, ORIGINAL)
        folder = Path(out, *filter(None, (self.subject, self.session)), "anat")
        return folder / "_".join([*kept, LABEL, desc, ending])

    def transform(self, out: Path) -> Path:
        """The ITK transform that brings the scan onto the template, named as other BIDS Apps do."""
        kept = [e for e in self.entities if not e.startswith(("space-", "label-", "desc-"))]
        space = next((e.removeprefix("space-") for e in self.entities if e.startswith("space-")), "T1w")
        name = [*kept, f"from-{space}", f"to-{SPACE}", "mode-image", DESC, "xfm.txt"]
        return self.output(out, "").with_name("_".join(name))


def find_scans(
    inputs: Sequence[str | Path], participants: Iterable[str] = (), sessions: Iterable[str] = ()
) -> tuple[InputScan, ...]:
    """Lists the scans of NIfTI files and folders; opens none.

    Links are followed, since data sets under git-annex consist of them; one that leads nowhere is listed too, so that
    it is told of when its turn comes.

    Args:
        inputs: NIfTI files; BIDS folders (or ATLAS's cohort tree), all T1w scans of which are taken; or
            folders of NIfTI files side by side.
        participants: Labels to keep, with or without "sub-"; empty keeps all.
        sessions: Likewise, with or without "ses-".

    Raises:
        InputError: A path does not exist or holds no scan, a label is not found, or two scans share a name.
    """
    scans = [scan for path in inputs for scan in _scans_of(Path(path))]
    for what, key, labels in (("participant", "sub-", participants), ("session", "ses-", sessions)):
        wanted = {f"{key}{label.removeprefix(key)}" for label in labels}
        found = {entity for scan in scans for entity in scan.entities}
        if missing := wanted - found:
            raise InputError(
                f"{what} {', '.join(sorted(missing))}: no T1w scan in {inputs[0]}; check the label"
            )
        scans = [scan for scan in scans if not wanted or wanted & set(scan.entities)]
    _check_names(scans)
    return tuple(scans)


def _scans_of(path: Path) -> list[InputScan]:
    if path.is_file():
        if not path.name.endswith(NIFTI):
            raise InputError(f"{path}: not a .nii or .nii.gz file; convert it to NIfTI")
        return [InputScan(path, path.parent, entities_of(path))]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder; check the path")
    found = _bids_scans(path) or _loose_scans(path)
    if not found:
        raise InputError(
            f"{path}: no T1w scan in it; expected sub-*/[ses-*/]anat/*_T1w.nii.gz, ATLAS's Training/R*, "
            "or .nii.gz files side by side"
        )
    return [InputScan(scan, path, entities_of(scan)) for scan in found]


def _bids_scans(folder: Path) -> list[Path]:
    for tree in _TREES:
        roots = [root for pattern in tree for root in ([folder] if pattern == "." else folder.glob(pattern))]
        files = (file for root in roots for anat in _ANAT for file in root.glob(f"{anat}/*_T1w.nii*"))
        scans = sorted({file for file in files if file.name.endswith(NIFTI) and not file.is_dir()})
        if scans:
            return scans
    return []


def scans_below(folder: Path) -> list[Path]:
    """The T1w scans of a BIDS folder or of ATLAS's tree, or else all scans in a folder and its subfolders."""
    return _bids_scans(folder) or sorted(
        file for file in folder.rglob("*") if _is_loose(file) and not file.is_dir()
    )


def _loose_scans(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and _is_loose(file))


def _is_loose(file: Path) -> bool:
    """Whether a file's name is that of a scan that lies in no BIDS folder: any NIfTI file but masks."""
    name = file.name
    return name.endswith(NIFTI) and not name.endswith(_MASKS) and not name.startswith(".")


def entities_of(path: Path) -> tuple[str, ...]:
    """The BIDS entities of a T1w file's name; any other becomes one subject label."""
    stem = next(path.name.removesuffix(suffix) for suffix in NIFTI if path.name.endswith(suffix))
    if _NAME.fullmatch(stem):
        return tuple(stem.split("_")[:-1])
    label = re.sub(r"[^A-Za-z0-9]", "", stem.removeprefix("sub-"))
    # A name without one such character (all Japanese, say) still needs a label.
    return (f"sub-{label or hashlib.sha256(stem.encode()).hexdigest()[:8]}",)


def _check_names(scans: Sequence[InputScan]) -> None:
    seen: dict[Path, InputScan] = {}
    for scan in scans:
        other = seen.setdefault(scan.output(Path(), "mask.nii.gz"), scan)
        if other is not scan:
            raise InputError(
                f"{scan.path}: its mask would have the name of {other.path}'s; rename one, "
                "or give each an output folder"
            )
