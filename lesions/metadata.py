"""ATLAS's metadata sheet: lesion counts per subject and place, found and read by tolerant header match."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lesions.errors import InputError
from lesions.places import SHEET_PLACES
from lesions.spreadsheet import SUFFIXES, Rows, read_tabs

_HEADER_ROWS = 20  # titles and remarks may precede the header
_LARGEST = 50_000_000  # bytes; a larger file at the data set's root is no such sheet
_SUBJECT = ("subjectid", "participantid", "subject", "participant", "subjects", "bidsid", "subid", "id")
_NO_COUNT = re.compile(r"volume|size|date|day|primary|secondary|side|type|hemorrh|haemorrh")

Roles = dict[str, list[int]]  # "subject" or a place -> columns that may be meant, by position


@dataclass(frozen=True, eq=False)
class Sheet:
    """A metadata sheet.

    Attributes:
        path: The file.
        counts: By subject key (`subject_key`), whole numbers in the columns `lesions.places.SHEET_PLACES`; only
            subjects with a lesion.
        notes: What a person should know: columns that are missing or not used, rows that could not be used.
    """

    path: Path
    counts: pd.DataFrame
    notes: tuple[str, ...]

    def match(self, subjects: Iterable[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
        """The counts under a data set's own subject ids, and the notes with what was not found.

        Two subjects whose ids differ only in spelling are both left out: nobody can say whose row it is.
        """
        names = list(dict.fromkeys(subjects))
        keys = pd.Series([subject_key(name) for name in names], index=names, dtype=object)
        single = keys[~keys.duplicated(keep=False)]
        found = single[single.isin(self.counts.index)]
        counts = self.counts.loc[list(found)].set_axis(found.index, axis=0)
        missing = [name for name in names if name not in counts.index]
        notes = [*self.notes, f"{len(counts)} of {len(names)} subjects have their lesion locations in it"]
        if missing:
            notes.append(f"not in it, so located approximately: {_some(missing)}")
        return counts, tuple(notes)


def find_sheet(root: Path, named: Path | None = None) -> Sheet | None:
    """The metadata sheet of a data set.

    Args:
        root: Folder that was given for the data set; the sheet lies there, or in the folder that has Training/.
        named: The file that the user names: taken whatever it is called.

    Returns:
        The first file, by name, that has subjects and lesion counts, those with "meta" in their name first; None
        where there is none.

    Raises:
        InputError: The named file is not such a sheet.
    """
    if named is not None:
        return read_sheet(named)
    folders = [root, *(path.parent for path in sorted(root.glob("*/Training")))]
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    for path in sorted(filter(_may_be, files), key=lambda p: ("meta" not in p.name.lower(), p.name)):
        try:
            return read_sheet(path)
        except InputError:
            continue
    return None


def read_sheet(path: str | Path) -> Sheet:
    """Reads a metadata sheet.

    The header is the row, among the first 20 of any tab, that names a subject column and most lesion counts:
    "# Lesions LH Cortical and White Matter", "lesions_left_subcortical" and the like, whatever case and spaces.

    Raises:
        InputError: No such file, not readable, or without those columns.
    """
    path = Path(path)
    best: tuple[int, Rows, Roles] = (1, [], {})
    for rows in read_tabs(path):
        for first, row in enumerate(rows[:_HEADER_ROWS]):
            roles = _roles(row)
            if "subject" in roles and len(roles) > best[0]:
                best = len(roles), rows[first:], roles
    _, rows, roles = best
    if not rows:
        raise InputError(
            f"{path}: no row names a subject column and lesion counts such as '# Lesions LH Subcortical'; "
            "name another sheet"
        )
    return _sheet(path, rows[0], rows[1:], roles)


def subject_key(name: str) -> str:
    """What the spellings of a subject share: "sub-r001s001", "R001S001", "r001s001_ses-1" all give "r001s001".

    An id of digits alone loses leading zeros, as spreadsheets take them away.
    """
    text = re.sub(r"[_ -]ses-?[a-z0-9]+$", "", name.strip().lower())
    key = re.sub(r"[^a-z0-9]", "", re.sub(r"^sub(?:ject)?[-_ ]*(?=.)", "", text))
    return key.lstrip("0") or "0" if key.isdigit() else key


def _may_be(path: Path) -> bool:
    if path.name.startswith((".", "~")) or path.suffix.lower() not in SUFFIXES:
        return False
    return path.is_file() and path.stat().st_size <= _LARGEST


def _roles(header: Sequence[str]) -> Roles:
    """The columns that may hold each role, by their headings without spaces, signs and capitals."""
    plain = [re.sub(r"[^a-z0-9]", "", heading.lower()) for heading in header]
    found: Roles = {}
    for name in _SUBJECT:
        if name in plain:
            found["subject"] = [plain.index(name)]
            break
    for column, heading in enumerate(plain):
        place = _place(heading)
        if place:
            found.setdefault(place, []).append(column)
    return found


def _place(heading: str) -> str | None:
    """The place that a heading counts lesions of."""
    if _NO_COUNT.search(heading):
        return None
    left = "lh" in heading or "left" in heading
    right = "rh" in heading or "right" in heading
    if "cort" in heading and left != right:
        return f"{'lh' if left else 'rh'}_{'subcortical' if 'subcort' in heading else 'cortical'}"
    counted = re.search("lesion|stroke|infarct", heading)
    return "other" if "other" in heading and counted and not (left or right) else None


def _sheet(path: Path, header: list[str], rows: Rows, roles: Roles) -> Sheet:
    # Of several columns for one place the one with most numbers: "Other Lesion Location" may hold words.
    chosen = {role: max(columns, key=lambda c: _numbers(rows, c)) for role, columns in roles.items()}
    notes = []
    missing = [place for place in SHEET_PLACES if place not in chosen]
    if missing:
        notes.append(f"no column for {', '.join(missing)}: taken as no lesion there")
    unused = [heading for column, heading in enumerate(header) if heading and column not in chosen.values()]
    if unused:
        notes.append(f"columns not used: {_some(unused)}")
    places = [place for place in SHEET_PLACES if place in chosen]
    kept: dict[str, tuple[int, ...]] = {}
    problems: dict[str, list[str]] = {_NOT_WHOLE: [], _NONE: [], _TWICE: []}
    for row in rows:
        cells = [row[chosen[place]] for place in places]
        if not row[chosen["subject"]] or not any(cells):
            continue
        key = subject_key(row[chosen["subject"]])
        counts = dict(zip(places, map(_whole, cells), strict=True))
        ordered = tuple(counts.get(place, 0) for place in SHEET_PLACES)
        if min(ordered) < 0:
            problems[_NOT_WHOLE].append(key)
        elif not any(ordered):
            problems[_NONE].append(key)
        elif kept.setdefault(key, ordered) != ordered:
            problems[_TWICE].append(key)
    notes += [f"{problem}: {_some(keys)}" for problem, keys in problems.items() if keys]
    frame = pd.DataFrame(list(kept.values()), index=list(kept), columns=list(SHEET_PLACES), dtype="int64")
    return Sheet(path, frame, tuple(notes))


_NOT_WHOLE = "counts that are no whole numbers, row passed over"
_NONE = "no lesion counted, row passed over"
_TWICE = "rows that differ, the first one is taken"


def _numbers(rows: Rows, column: int) -> int:
    return sum(row[column].isdigit() for row in rows)


def _whole(cell: str) -> int:
    """A count; an empty cell is 0, anything else than a whole number is -1."""
    match = re.fullmatch(r"(\d{1,4})(?:\.0*)?", cell)
    return int(match[1]) if match else -1 if cell else 0


def _some(names: Sequence[str], most: int = 5) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
