"""Where the lesions are: a chart of their shares."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lesions.places import APPROXIMATE
from reports import style
from reports.distributions import counted, share

NAMES = {
    "lh_cortical": "Left cortex, white matter",
    "rh_cortical": "Right cortex, white matter",
    "lh_subcortical": "Left subcortical",
    "rh_subcortical": "Right subcortical",
    "other": "Brainstem, cerebellum",
    "unknown": "Outside the template",
}
SOURCES = {"metadata": "From the metadata sheet", "approximate": "Approximate"}
RULE = (
    "Approximate: each connected lesion lies where most of its voxels lie, on tissue maps of the MNI152 template. "
    "White matter of the lobes goes with the cortex; subcortical: basal ganglia, thalamus and capsules."
)
_COLORS = {"cortical": style.BLUE, "subcortical": style.ORANGE}


@style.settings()
def draw_locations(summary: pd.DataFrame, note: str = "") -> Figure:
    """Bars of the lesions in each place, a panel for each source.

    Args:
        summary: Of `lesions.places.Locations.summary`, not empty.
        note: Said below.
    """
    sources = list(summary["source"].unique())
    figure = style.new_figure(4.8 * len(sources) + 1.0, 3.4, space=0.06)
    panels = figure.subplots(1, len(sources), squeeze=False).ravel()
    for axes, source in zip(panels, sources, strict=True):
        _bars(axes, summary[summary["source"] == source], source)
    style.footnote(figure, RULE if APPROXIMATE in sources else "", note)
    return figure


def _bars(axes: Axes, rows: pd.DataFrame, source: str) -> None:
    rows = rows.set_index("place").reindex([place for place in NAMES if place in set(rows["place"])])
    kinds = [str(place).split("_")[-1] for place in rows.index]
    colors = [_COLORS.get(kind, style.GREEN if kind == "other" else style.GRAY) for kind in kinds]
    # Hatched where it is no more than approximate.
    hatch = "////" if source == APPROXIMATE else None
    axes.barh(range(len(rows)), rows["lesions"], color=colors, height=0.7, hatch=hatch, edgecolor="white")
    for at, row in enumerate(rows.itertuples()):
        text = f"{share(row.lesions, row.of_lesions)}\nin {counted(row.subjects, 'subject')}"
        axes.annotate(text, (row.lesions, at), (4, 0), textcoords="offset points", va="center", fontsize=8)
    first = rows.iloc[0]
    total = f"{counted(first['of_lesions'], 'lesion')} of {counted(first['of_subjects'], 'subject')}"
    axes.set_title(f"{SOURCES[source]}: {total}")
    axes.set_yticks(range(len(rows)), [NAMES[place] for place in rows.index])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1.45 * max(int(rows["lesions"].max()), 1))
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)
