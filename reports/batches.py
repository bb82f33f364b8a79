"""The section about distribution batches: every lesion slice once, in batches that mirror the size categories."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from reports import clouds, style
from reports.blocks import Section, TableBlock, Text
from reports.content import RunReport
from reports.lesion_sections import note
from reports.tables import table

PLANNED, SHUFFLED = "planned", "shuffled"
_NOTE = (
    "Of the first epoch; later ones draw anew from the same seed. TV: total variation between the size categories of a "
    "batch's lesion slices and those of all training slices with lesion, 0 to 1. Least possible: the smallest mean "
    "that any plan reaches which rounds every share up or down. Shuffled: the same slices in random order."
)
_ONE = (
    "In batches of two there is one slice with lesion to a batch: no batch can mirror the size categories, and planned "
    "batches are as far from the whole as shuffled ones."
)


def batches(content: RunReport) -> Section:
    """How the training slices were dealt to batches, and how well each batch mirrors the whole."""
    rows = content.batches
    if rows.empty:
        return Section("batches", "Batches", (Text("The batches are not recorded in this run.", "missing"),))
    shown = summary(rows)
    dropped = int((shown["Lesion slices"] - shown["Used"]).sum())
    if dropped:
        said = Text(f"{dropped:,} slices with lesion are in no batch.", "bad")
    else:
        said = Text(
            "Every slice with lesion is in exactly one batch of each epoch; as many without join them.",
            "good",
        )
    made = table(
        shown, f"Batches of {len(shown)} trainings", {name: 4 for name in shown if "TV" in str(name)}, _NOTE
    )
    small = [Text(_ONE, "caution")] if (rows["batch_size"] == 2).any() else []
    figure = style.embed(
        draw(rows, note(content.phantom)),
        "Rainclouds of the total variation of each batch, planned and shuffled, by plane",
        "How far each batch is from the whole: planned as here, and shuffled. Further left is better.",
        vector=True,
    )
    return Section("batches", "Batches", (said, *small, TableBlock(made), figure))


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per training.

    Args:
        rows: `RunReport.batches`.
    """
    made = []
    for (plane, fold), group in rows.groupby(["plane", "fold"], sort=False):
        made.append(
            {
                "Plane": plane,
                "Validation fold": fold,
                "Batch size": int(group["batch_size"].iloc[0]),
                "Batches": len(group),
                "Lesion slices": int(group["lesion_slices"].iloc[0]),
                "Used": int(group["n"].sum()),
                "TV mean": group["tv"].mean(),
                "Least possible TV": group["minimum_tv"].iloc[0],
                "TV largest": group["tv"].max(),
                "TV mean, shuffled": group["tv_shuffled"].mean(),
                "TV largest, shuffled": group["tv_shuffled"].max(),
            }
        )
    return pd.DataFrame(made)


@style.settings()
def draw(rows: pd.DataFrame, said: str = "") -> Figure:
    """The TV of every batch, planned and shuffled: a panel per plane, of its first training.

    Args:
        rows: `RunReport.batches`.
        said: Below, such as that the scans are phantoms.
    """
    firsts = [group[group["fold"] == group["fold"].min()] for _, group in rows.groupby("plane", sort=False)]
    figure = style.new_figure(9.6 if len(firsts) > 1 else 6.0, 2.6, space=0.03)
    for axes, group in zip(figure.subplots(1, len(firsts), squeeze=False)[0], firsts, strict=True):
        values = {PLANNED: group["tv"].to_numpy(), SHUFFLED: group["tv_shuffled"].to_numpy()}
        clouds.draw_scores(axes, values, {SHUFFLED: style.GRAY})
        axes.set_title(f"{group['plane'].iloc[0].capitalize()}, validation fold {group['fold'].iloc[0]}")
        axes.set_xlabel("TV of a batch")
    style.footnote(figure, f"n: batches. {clouds.SCORES}", said)
    return figure
