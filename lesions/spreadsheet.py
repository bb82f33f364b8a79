"""Spreadsheets as rows of text, whatever program saved them."""

from __future__ import annotations

import csv
import warnings
import zipfile
from pathlib import Path

import pandas as pd

from lesions.errors import InputError

SUFFIXES = (".xlsx", ".xlsm", ".csv", ".tsv")
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, OverflowError, zipfile.BadZipFile, csv.Error)

Rows = list[list[str]]


def read_tabs(path: str | Path) -> list[Rows]:
    """Every tab of a workbook, or the one table of a text file, as rows of equal length; no cell is interpreted.

    Raises:
        InputError: No such file, another kind of file, or not readable.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: expected one of {', '.join(SUFFIXES)}; save the sheet as one of them")
    try:
        tabs = _workbook(path) if path.suffix.lower().startswith(".xls") else [_table(path.read_bytes())]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a readable sheet ({reason}); save it again") from None
    return [_even(rows) for rows in tabs]


def cell_text(cell: object) -> str:
    """A cell as text, without spaces around it: 3.0 is "3", a missing cell is empty."""
    if cell is None or (isinstance(cell, float) and cell != cell):
        return ""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return " ".join(str(cell).split())


def _workbook(path: Path) -> list[Rows]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about styles that openpyxl does not know
        tabs = pd.read_excel(
            path, sheet_name=None, header=None, dtype=object, keep_default_na=False, engine="openpyxl"
        )
    return [[[cell_text(cell) for cell in row] for row in tab.to_numpy()] for tab in tabs.values()]


def _table(content: bytes) -> Rows:
    """Rows separated by whichever of tab, semicolon and comma is there most."""
    lines = _decoded(content).splitlines()
    sample = "\n".join(lines[:100])
    delimiter = max(",;\t", key=sample.count)
    return [[cell_text(cell) for cell in row] for row in csv.reader(lines, delimiter=delimiter)]


def _decoded(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def _even(rows: Rows) -> Rows:
    width = max((len(row) for row in rows), default=0)
    return [row + [""] * (width - len(row)) for row in rows if any(row)]
