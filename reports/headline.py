"""The first section: the one number, what it rests on, and whether the models are good enough."""

from __future__ import annotations

import pandas as pd

from lesions.significance import ALPHA
from reports.blocks import Block, Section, Text, Tile, Tiles
from reports.content import RunReport
from reports.gates import gate_text
from reports.scores import FUSED, interval, of_score, predictions
from reports.tables import number


def headline(content: RunReport) -> Section:
    """The test's mean Dice with n and spread, fused beside each plane's own; and the gates."""
    blocks: list[Block] = []
    if content.scores.empty:
        blocks.append(Text("No hold-out subject was scored in this run: there is no test result.", "missing"))
    else:
        blocks += [Text(_verdict(content)), Tiles(tuple(_tiles(content.scores)))]
    blocks.append(gate_text(content.gates))
    return Section("result", "Result", tuple(blocks))


def _tiles(scores: pd.DataFrame) -> list[Tile]:
    tiles = []
    dice = of_score(scores, "dice")
    for name in sorted(predictions(scores), key=lambda name: name != FUSED):
        row = dice.loc[name]
        detail = f"n = {int(row['n'])}, sd {number(row['sd_population'])}, median {number(row['median'])}"
        detail += f", 95 % interval of the mean {interval(row)}"
        label = "Fused, mean 3-D Dice" if name == FUSED else f"{name.capitalize()} alone"
        tiles.append(Tile(label, number(row["mean"]), detail, name == FUSED))
    return tiles


def _verdict(content: RunReport) -> str:
    means = of_score(content.scores, "dice")["mean"]
    kind = "synthetic (phantom)" if content.phantom else "real"
    count = content.holdout["subject"].nunique()
    text = f"Test on {count} {kind} hold-out subjects that no training and no choice of a model has seen."
    planes = means.drop(FUSED, errors="ignore")
    if FUSED not in means or planes.empty:
        return text
    better = [name for name in planes.index if means[FUSED] <= planes[name]]
    if better:
        return f"{text} The fused mask's mean Dice is not above that of {' and '.join(better)} alone."
    return f"{text} The fused mask's mean Dice is above that of every single plane{_significant(content)}."


def _significant(content: RunReport) -> str:
    """Against which planes the difference is significant: a higher mean alone says little of other subjects."""
    if content.comparison.empty:
        return ""
    low = content.comparison["p_holm"] < ALPHA
    planes = {
        kind: ", ".join(content.comparison.loc[rows, "first"]) for kind, rows in ((True, low), (False, ~low))
    }
    said = [f"significantly so against {planes[True]}"] if planes[True] else []
    said += [f"not significantly against {planes[False]}"] if planes[False] else []
    return f", {', '.join(said)} (Wilcoxon, Holm-corrected, {ALPHA:g})"
