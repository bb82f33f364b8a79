"""Figures that the table commands write beside their tables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from lesions.statistics import Tables


def write_figures(
    folder: Path, tables: Tables, folds: pd.DataFrame | None = None, quality: pd.DataFrame | None = None
) -> list[str]:
    """Writes what the tables can show, and says what they cannot.

    sizes_{table}.png: the whole by size category; given a fold map, split.png and folds_{table}.png;
    locations.png and frequency.png where masks were read. A table is "3d" or a plane.

    Args:
        folder: Where to.
        tables: Of `raxnet stats`.
        folds: subject, fold.
        quality: Of `lesions.folds.quality`.

    Returns:
        A line for each figure that is missing.
    """
    from reports.lesion_sections import note

    folder.mkdir(parents=True, exist_ok=True)
    said = note(tables.phantom)
    for name, figure in _sizes(tables, folds, quality, said):
        _save(folder / name, figure)
    return _places(folder, tables, said)


def _sizes(
    tables: Tables, folds: pd.DataFrame | None, quality: pd.DataFrame | None, note: str
) -> Iterator[tuple[str, Figure]]:
    import pandas as pd

    from reports.rainclouds import draw_folds, draw_sizes, draw_split

    frames = {"3d": tables.lesions_3d, **tables.planes}
    for table, frame in frames.items():
        yield f"sizes_{table}.png", draw_sizes(frame["voxels"].to_numpy(), table, tables.grid, note)
    if folds is not None:
        measured = pd.DataFrame() if quality is None else quality
        yield "split.png", draw_split(frames, folds, measured, tables.grid, note)
        for table, frame in frames.items():
            yield f"folds_{table}.png", draw_folds(frame, table, folds, measured, tables.grid, note)


def _places(folder: Path, tables: Tables, note: str) -> list[str]:
    from reports.frequency import draw_frequency, on_template
    from reports.locations import draw_locations

    absent = []
    if tables.locations is None:
        absent.append(
            "no locations.png: these tables have no locations.csv, which raxnet stats makes of masks"
        )
    else:
        _save(folder / "locations.png", draw_locations(tables.locations.summary(), note))
    if tables.frequency is None:
        why = "the scans lie on several grids" if tables.locations is not None else "it is made of masks"
        absent.append(f"no frequency.png: these tables have no lesion_frequency.nii.gz; {why}")
        return absent
    background = on_template(tables.frequency)
    if background is None:
        absent.append("no frequency.png: the scans' grid does not cover the MNI152 template")
    else:
        count = len(tables.lesions_3d)
        _save(folder / "frequency.png", draw_frequency(tables.frequency, background, count, note))
    return absent


def _save(path: Path, figure: Figure) -> None:
    from reports.style import png

    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    partial.write_bytes(png(figure, colors=256))
    partial.replace(path)
