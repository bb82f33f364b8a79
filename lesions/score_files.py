"""Reads files of per-slice or per-subject scores: the published tables' columns, or ours with tp, fp, fn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lesions import recover
from lesions.errors import InputError
from lesions.metrics import SCORES, SMOOTHED, overlap
from lesions.slices import PLANES

COUNTS = ("tp", "fp", "fn")
# By what is scored and what is given: the columns that say so. Others are ignored.
KINDS = {
    ("slices", "counts"): ("subject", "slice", *COUNTS),
    ("slices", "scores"): ("subject", "slice", "lesion_voxels", "dice", "precision", "recall"),
    ("subjects", "counts"): ("subject", *COUNTS),
    ("subjects", "scores"): ("subject", "dice", "precision", "recall", "volume_difference"),
}
_FOLD = re.compile(r"fold[_-]?(\d+)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class ScoreFile:
    """One file's scores under one set of names.

    Attributes:
        path: Where it was read.
        unit: "slices" or "subjects".
        given: "counts" or "scores" (smoothed by 1, as the method's own).
        rows: subject, slice (of slices), prediction (of subjects; "" where the file names none), lesion_voxels, tp,
            fp, fn, the columns of `metrics.overlap`, exact (False where counts do not follow from the scores: then
            these, the plain scores, and a subject's lesion_voxels are NaN).
        fold: From the name of the file or its folder (fold_3), else the file's name; the path where that is not unique.
        plane: From the column plane or the file's name; None where neither says.
    """

    path: Path
    unit: str
    given: str
    rows: pd.DataFrame
    fold: str
    plane: str | None


def read_score_file(path: str | Path) -> ScoreFile:
    """Reads and checks one file, CSV or Parquet; scores become counts, counts become scores.

    Raises:
        InputError: Not a table, other columns, no rows, a row twice, or a value that cannot be; names its line.
    """
    path = Path(path)
    raw = _read(path)
    unit, given = _kind(path, raw)
    frame = pd.DataFrame({"subject": _subjects(path, raw["subject"])})
    for name in KINDS[unit, given][1:]:
        frame[name] = _numbers(path, raw[name], name)
    keys = ["subject", "slice"] if unit == "slices" else ["subject", "prediction"]
    if unit == "subjects":
        frame["prediction"] = raw.get("prediction", "")
    _refuse_twice(path, frame, keys)
    if given == "counts":
        rows = frame.assign(lesion_voxels=frame["tp"] + frame["fn"], exact=True)
        _check_size(path, raw, rows)
        rows = rows.assign(**overlap(*(rows[name] for name in COUNTS)))
    else:
        rows = _solved(frame, unit)
    fold = _FOLD.search(path.stem) or _FOLD.search(path.parent.name)
    return ScoreFile(path, unit, given, rows, fold.group(1) if fold else path.stem, _plane(path, raw))


def read_score_files(paths: Sequence[str | Path]) -> list[ScoreFile]:
    """Reads files that belong together: folds of one plane, or subjects.

    Raises:
        InputError: As `read_score_file`; slices and subjects together, scores and counts together, two planes, or
            the same rows twice.
    """
    files = [read_score_file(path) for path in paths]
    first = files[0]
    for other in files[1:]:
        if other.unit != first.unit:
            raise InputError(
                f"{other.path}: scores of {other.unit}, {first.path} has scores of {first.unit}; "
                "2-D and 3-D scores are never averaged together: evaluate them apart"
            )
        if other.given != first.given:
            raise InputError(
                f"{other.path}: holds {other.given}, {first.path} {first.given}; evaluate them apart"
            )
        if other.plane != first.plane and other.plane and first.plane:
            raise InputError(
                f"{other.path}: plane {other.plane}, {first.path} is {first.plane}; evaluate them apart"
            )
    for k, other in enumerate(files):
        for earlier in files[:k]:
            if other.rows.equals(earlier.rows):
                raise InputError(f"{other.path}: the same rows as {earlier.path}; give each fold once")
    labels = [file.fold for file in files]
    if len(set(labels)) < len(labels):  # one name in several folders
        return [replace(file, fold=str(file.path)) for file in files]
    return files


def read_subjects(path: str | Path) -> list[str]:
    """The subjects of a CSV file with a column subject, in its order, each once.

    Raises:
        InputError: Not such a file, or none in it.
    """
    path = Path(path)
    raw = _read(path)
    if "subject" not in raw:
        raise InputError(f"{path}: column subject is missing; found {', '.join(raw)}")
    return list(dict.fromkeys(_subjects(path, raw["subject"])))


def _read(path: Path) -> pd.DataFrame:
    """All cells as text, so that a wrong one can be named."""
    try:
        if path.suffix == ".parquet":
            raw = pd.read_parquet(path, engine="pyarrow").astype(str)
        else:
            raw = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except (ValueError, OSError) as error:
        raise InputError(
            f"{path}: not a readable table ({error}); give a CSV file with a line of headings"
        ) from None
    raw.columns = [str(name).strip() for name in raw.columns]
    if raw.empty:
        raise InputError(f"{path}: no rows; a fold without scores is left out, not given empty")
    return raw.fillna("")  # a line with too few cells


def _kind(path: Path, raw: pd.DataFrame) -> tuple[str, str]:
    unit = "slices" if "slice" in raw else "subjects"
    for given in ("counts", "scores"):
        if set(KINDS[unit, given]) <= set(raw):
            return unit, given
    accepted = "; or ".join(", ".join(columns) for columns in KINDS.values())
    raise InputError(f"{path}: columns {', '.join(raw)}; expected {accepted}")


def _subjects(path: Path, column: pd.Series) -> pd.Series:
    names = column.str.strip()
    if (names == "").any():
        raise InputError(f"{_line(path, names == '')}: subject is empty; every row needs one")
    return names


def _numbers(path: Path, column: pd.Series, name: str) -> pd.Series:
    """Numbers that can be: scores in 0 to 1, counts whole and not negative."""
    values = pd.to_numeric(column.str.strip(), errors="coerce")
    finite = np.isfinite(values)
    if not finite.all():
        text = column[~finite].iloc[0]
        raise InputError(
            f"{_line(path, ~finite)}: {name} must be a number, found {text!r}; mend or leave out the row"
        )
    if name in SCORES:
        bad = (values < 0) | (values > 1)
        rule = "a score from 0 to 1"
    else:
        bad = (values < 0) | (values != np.rint(values))
        rule = "a whole number from 0"
    if bad.any():
        text = column[bad].iloc[0]
        raise InputError(f"{_line(path, bad)}: {name} must be {rule}, found {text}; mend the file")
    return values.astype(np.float64 if name in SCORES else np.int64)


def _refuse_twice(path: Path, frame: pd.DataFrame, keys: list[str]) -> None:
    twice = frame.duplicated(keys)
    if twice.any():
        what = " ".join(str(value) for value in frame.loc[twice, keys].iloc[0] if value != "")
        raise InputError(f"{_line(path, twice)}: {what} is there twice; keep one row of it")


def _check_size(path: Path, raw: pd.DataFrame, rows: pd.DataFrame) -> None:
    if "lesion_voxels" not in raw:
        return
    given = _numbers(path, raw["lesion_voxels"], "lesion_voxels")
    other = given != rows["lesion_voxels"]
    if other.any():
        raise InputError(
            f"{_line(path, other)}: lesion_voxels is {given[other].iloc[0]}, tp + fn is "
            f"{rows.loc[other, 'lesion_voxels'].iloc[0]}; mend the file"
        )


def _solved(frame: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Rows of scores with the counts that give them."""
    dice, precision, recall = (frame[name].to_numpy() for name in ("dice", "precision", "recall"))
    if unit == "slices":
        size = frame["lesion_voxels"].to_numpy()
        tp, fp, fn, exact = recover.slice_counts(size, dice, precision, recall)
    else:
        difference = frame["volume_difference"].to_numpy()
        tp, fp, fn, exact = recover.volume_counts(dice, precision, recall, difference)
    unknown = ~exact
    rows = frame.rename(columns=dict(zip(SCORES, SMOOTHED, strict=True))).assign(exact=exact)
    derived = dict(zip(COUNTS, (tp, fp, fn), strict=True)) | overlap(tp, fp, fn)
    if unit == "subjects":
        derived["lesion_voxels"] = tp + fn
    else:
        derived["floor"] = 1.0 / (frame["lesion_voxels"].to_numpy() + 1.0)
    for name, values in derived.items():
        if name not in rows:  # a score as given stays as given
            rows[name] = (
                values if name == "floor" else np.where(unknown, np.nan, values) if unknown.any() else values
            )
    return rows


def _plane(path: Path, raw: pd.DataFrame) -> str | None:
    if "plane" in raw:
        found = sorted(set(raw["plane"]))
        if len(found) > 1 or found[0] not in PLANES:
            raise InputError(
                f"{path}: column plane holds {', '.join(found)}; expected one of {', '.join(PLANES)}"
            )
        return found[0]
    named = [plane for plane in PLANES if plane in path.name.lower()]
    return named[0] if len(named) == 1 else None


def _line(path: Path, where: pd.Series) -> str:
    """The file and the line of the first row that `where` marks; headings are line 1."""
    return f"{path}, line {int(np.flatnonzero(where)[0]) + 2}"
