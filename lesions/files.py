"""Writing files and folders whole or not at all."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from lesions.errors import InputError


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file: to a temporary name beside it first, then renamed; its folder is made.

    Raises:
        InputError: The folder cannot be written.
    """
    write_bytes(path, text.encode())


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes a file as `write_text` does."""
    path = Path(path)
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another folder") from None
    finally:
        _remove(partial)


def write_csv(path: str | Path, frame: pd.DataFrame) -> None:
    """Writes a frame without its index, lines ended by a line feed, as `write_text` does."""
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def write_table(stem: str | Path, frame: pd.DataFrame) -> None:
    """Writes a frame as `<stem>.csv` and as `<stem>.parquet`; `read_table` reads the same from both."""
    write_csv(f"{stem}.csv", frame)
    packed = io.BytesIO()
    frame.to_parquet(packed, engine="pyarrow", index=False)
    write_bytes(f"{stem}.parquet", packed.getvalue())


def read_table(path: str | Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Reads a table of `write_table`, either form, by the file's ending.

    Args:
        path: Ends in .csv or .parquet.
        columns: Must be there.

    Raises:
        InputError: No such file, not such a table, or a column is missing.
    """
    path = Path(path)
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path, engine="pyarrow")
        else:
            # Subjects may be called 007 or NA, and a float comes back as it was written.
            frame = pd.read_csv(path, converters={"subject": str}, float_precision="round_trip")
    except FileNotFoundError:
        raise InputError(f"{path}: no such table; check the path") from None
    except (ValueError, OSError) as error:  # pyarrow's errors and pandas' are both kinds of ValueError
        raise InputError(f"{path}: not a readable table ({error}); write it again") from None
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise InputError(f"{path}: column {missing[0]} is missing; expected {', '.join(columns)}")
    return frame


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Gives a temporary folder beside `out` that becomes it when all is written, and else goes.

    Raises:
        InputError: `out` is there and not an empty folder, or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists; name another folder or remove it")
    partial = out.with_name(f".partial-{os.getpid()}-{out.name}")
    try:
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); choose another folder") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_writable(folder: str | Path) -> None:
    """Fails before long work, not after it, where a folder cannot be made or written; makes nothing.

    Raises:
        InputError: A file is in its way, or its nearest existing parent may not be written.
    """
    near = _nearest(folder)
    if not near.is_dir() or not os.access(near, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: cannot be written ({near} is in the way); choose another folder")


def require_space(folder: str | Path, needed: float, remedy: str) -> None:
    """Fails before long work, not in its midst, where the disk of a folder is too full; makes nothing.

    Args:
        folder: Need not be there yet.
        needed: Bytes that will be written.
        remedy: What to do where they do not fit.

    Raises:
        InputError: Less is free; says how much.
    """
    free = free_bytes(folder)
    if needed > free:
        raise InputError(
            f"{folder}: needs about {needed / 1e9:.1f} GB, found {free / 1e9:.1f} GB free; {remedy}"
        )


def free_bytes(folder: str | Path) -> int:
    """What is free on the disk of a folder, which need not be there yet."""
    return shutil.disk_usage(_nearest(folder)).free


def _nearest(folder: str | Path) -> Path:
    """The folder, or the nearest of its parents that is there."""
    near = Path(folder).absolute()
    while not near.exists() and near != near.parent:
        near = near.parent
    return near


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # its folder is a file, or may not be read
        return
