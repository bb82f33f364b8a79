"""Figures that the table commands write beside their tables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from lesions.statistics import Tables


def write_size_figures(folder: Path, tables: Tables, folds: pd.DataFrame | None = None) -> None:
    """Writes sizes_3d.png, sizes_{plane}.png: lesion sizes of the whole and, given a map, of each fold."""
    import pandas as pd

    from reports.distributions import draw_sizes, groups

    folds = pd.DataFrame({"subject": [], "fold": []}) if folds is None else folds
    for table, frame in [("3d", tables.lesions_3d), *tables.planes.items()]:
        path = folder / f"sizes_{table}.png"
        partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
        draw_sizes(groups(frame, folds), table, tables.grid).savefig(partial, dpi=150)
        partial.replace(path)
