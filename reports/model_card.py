"""A small model card: what the models are for, what they rest on, where they end."""

from __future__ import annotations

import pandas as pd

from reports.blocks import Block, Bullets, Heading, Section, TableBlock
from reports.content import RunReport
from reports.distributions import category_unit
from reports.scores import FUSED, dice_by_category, interval, of_score
from reports.tables import facts, number

LOW = 0.5  # a Dice below it means more than two wrong voxels for every right one


def model_card(content: RunReport) -> Section:
    """Intended use, data, results and limits, in words; the figures are those of the other sections."""
    blocks: list[Block] = [
        TableBlock(facts(_facts(content), "Models")),
        Heading("Intended use"),
        Bullets(_use(content)),
        Heading("Limits"),
        Bullets(tuple(_limits(content))),
    ]
    return Section("card", "Model card", tuple(blocks))


def _facts(content: RunReport) -> dict[str, str]:
    models, made = content.models, {"task": "outlines of chronic stroke lesions in T1-weighted MRI"}
    for name, label in (("network", "network"), ("loss", "loss"), ("parameters", "parameters per plane")):
        if name in models:
            made[label] = ", ".join(dict.fromkeys(number(value) for value in models[name]))
    if "plane" in models:
        made["planes"] = ", ".join(models["plane"])
    made["training data"] = content.statement
    if content.grid is not None:
        shape = " x ".join(map(str, content.grid.shape))
        made["grid"] = f"{shape} voxels of {number(float(content.grid.spacing[0]), 1)} mm, MNI152 space"
    if len(content.scores):
        made["test"] = _test(content)
    return made


def _test(content: RunReport) -> str:
    dice = of_score(content.scores, "dice")
    name = FUSED if FUSED in dice.index else dice.index[-1]
    row = dice.loc[name]
    kind = "synthetic" if content.phantom else "real"
    return (
        f"{int(row['n'])} {kind} hold-out subjects: mean 3-D Dice {number(row['mean'])} ({name}; 95 % interval "
        f"{interval(row)}, sd {number(row['sd_population'])}, median {number(row['median'])})"
    )


def _use(content: RunReport) -> tuple[str, ...]:
    if content.phantom:
        return (
            "Shows that the pipeline works, from scans to masks.",
            "Not for real scans: the models have seen none. Not a medical device.",
        )
    return (
        "Research on chronic stroke: lesion masks and volumes of groups of T1-weighted scans, looked at by a person.",
        "Not for diagnosis, treatment or any decision about a patient. Not a medical device.",
    )


def _limits(content: RunReport) -> list[str]:
    made = []
    if content.phantom:
        made.append("Every scan and lesion is synthetic: no figure here says anything about patients.")
    made += [
        "T1-weighted scans alone, in MNI152 space; a scan that is not registered is segmented with a warning.",
        "Chronic lesions, as in the training data; acute stroke, tumors and other lesions were not tested.",
    ]
    made += _found(content)
    made.append(
        "The hold-out comes from the same data set as the training: other scanners and hospitals may give worse masks."
    )
    made.append(
        "A probability is not a calibrated risk, and disagreement of the planes is no probability of error."
    )
    return made


def _found(content: RunReport) -> list[str]:
    """Limits that the test itself shows: how many subjects are poor, and which lesion size is the worst."""
    rows = content.holdout
    if rows.empty:
        return []
    name = FUSED if FUSED in set(rows["prediction"]) else rows["prediction"].iloc[-1]
    dice = rows.loc[rows["prediction"] == name, "dice"]
    made = [
        f"{int((dice < LOW).sum())} of {len(dice)} hold-out subjects have a 3-D Dice below {LOW:g} ({name})."
    ]
    sizes = dice_by_category(content.by_category, content.grid)
    if len(sizes) > 1:
        unit = category_unit("3d", content.grid)
        worst = sizes.loc[pd.to_numeric(sizes["Mean Dice"]).idxmin()]
        made.append(
            f"Lowest by lesion size: {worst['Size category']} {unit}, mean Dice {number(worst['Mean Dice'])} "
            f"(n = {worst['n']})."
        )
    return made
