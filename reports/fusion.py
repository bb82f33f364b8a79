"""What fusion brings: slices before and after, and each plane against the fused mask in 3-D."""

from __future__ import annotations

import pandas as pd

from lesions import metrics
from reports import score_figures, style
from reports.blocks import Block, Bullets, Heading, Section, TableBlock, Text
from reports.content import RunReport
from reports.lesion_sections import note
from reports.scores import NAMES, interval
from reports.tables import Table, table

_KINDS = {
    "all": "all slices, smoothed by 1 (the method's protocol)",
    "lesion": "slices with lesion, unsmoothed",
}
_NOTE = (
    "Before: the plane's own mask (probability > 0.5); after: the fused mask on the same slices. Gain: mean of after "
    "less before, slice by slice; 95 % interval: bootstrap over subjects. sd: population, over slices. "
)
_FLOOR = "Floor: mean Dice of a prediction without any voxel, which slices without lesion raise."


def fusion(content: RunReport) -> Section:
    """Before and after fusion, 2-D by plane and 3-D by subject; never mixed."""
    blocks: list[Block] = []
    if len(content.comparison):
        sentences = [s[0].upper() + s[1:] for s in content.comparison["sentence"]]
        blocks += [Heading("3-D, subject by subject"), Bullets(tuple(sentences))]
    if len(content.slice_summary):
        blocks += [Heading("Slice by slice"), *_slices(content)]
    missing = Text("No slices before and after fusion were scored in this run.", "missing")
    return Section("fusion", "Before and after fusion", tuple(blocks) or (missing,))


def _slices(content: RunReport) -> list[Block]:
    said = Text(
        "Slices of the hold-out. Means over slices are not comparable with 3-D scores of subjects: a slice without "
        "lesion that stays empty scores 1, and a subject counts as often as it has slices."
    )
    figure = style.embed(
        score_figures.draw_before_after(content.holdout_slices, note(content.phantom)),
        "Rainclouds of the Dice of slices with lesion, for each plane before and after fusion",
        "Dice of the hold-out's slices with lesion, unsmoothed, before and after fusion.",
        vector=True,
    )
    return [said, figure, *(TableBlock(_table(content, kind)) for kind in ("lesion", "all"))]


def _table(content: RunReport, kind: str) -> Table:
    rows = content.slice_summary[content.slice_summary["slices"] == kind]
    shown = pd.DataFrame([_row(row, content.holdout_slices, kind) for _, row in rows.iterrows()])
    return table(shown, f"Test: {_KINDS[kind]}, before and after fusion", note=_NOTE + _FLOOR)


def _row(row: pd.Series, by_slice: pd.DataFrame, kind: str) -> dict[str, object]:
    made = {"Plane": row["plane"], "Score": NAMES[row["metric"]], "Subjects": row["subjects"], "n": row["n"]}
    for stage in ("before", "after"):
        made[stage.capitalize()] = row[f"{stage}_mean"]
        made |= {f"sd {stage}": row[f"{stage}_sd_population"], f"median {stage}": row[f"{stage}_median"]}
    made["Gain"] = row["gain_mean"]
    made["95 % interval"] = interval(row, "gain_ci_low", "gain_ci_high")
    made["Floor"] = floor(by_slice, row["plane"], kind) if row["metric"] == "dice" else None
    return made


def floor(by_slice: pd.DataFrame, plane: str, kind: str) -> float:
    """Mean Dice that a prediction without any voxel has on a plane's slices: `all` smoothed by 1, `lesion` not.

    Args:
        by_slice: plane, lesion_voxels.
        plane: Whose slices.
        kind: all or lesion.
    """
    sizes = by_slice.loc[by_slice["plane"] == plane, "lesion_voxels"].to_numpy()
    chosen = sizes if kind == "all" else sizes[sizes > 0]
    nothing = chosen * 0
    values = metrics.dice(nothing, nothing, chosen, 1.0 if kind == "all" else 0.0)
    return float(values.mean()) if len(chosen) else float("nan")
