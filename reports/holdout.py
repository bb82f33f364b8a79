"""The test: the hold-out's subjects in 3-D, as tables and rainclouds."""

from __future__ import annotations

from reports import score_figures, scores, style
from reports.blocks import Block, Details, Heading, Image, Section, TableBlock, Text
from reports.content import RunReport
from reports.distributions import category_unit
from reports.lesion_sections import note
from reports.tables import table

NOTE = (
    "95 % interval: of the mean, percentile bootstrap over subjects. sd: population, over the n subjects. q1, q3: "
    "quartiles. Scores are of whole volumes, never means over slices."
)
LEFT_OUT = "Left out: subjects without a value, such as a surface distance where a mask is empty."


def holdout(content: RunReport) -> Section:
    """Scores of every hold-out subject: by prediction, by size category, one by one."""
    if content.holdout.empty or content.scores.empty:
        missing = Text("No hold-out subject was scored in this run.", "missing")
        return Section("holdout", "Test: hold-out in 3-D", (missing,))
    blocks: list[Block] = [Heading("By prediction"), *_by_prediction(content)]
    blocks += [Heading("By lesion size"), *_by_size(content)]
    blocks += [Heading("Subject by subject"), _one_by_one(content)]
    return Section("holdout", "Test: hold-out in 3-D", tuple(blocks))


def _kind(content: RunReport) -> str:
    return "phantom" if content.phantom else "real scans"


def _by_prediction(content: RunReport) -> list[Block]:
    count = content.holdout["subject"].nunique()
    caption = f"Test: 3-D Dice of {count} hold-out subjects ({_kind(content)}), each plane alone and fused"
    rainclouds = style.embed(
        score_figures.draw_subjects(content.holdout, note(content.phantom)),
        f"Rainclouds of 3-D Dice, recall and precision of {count} hold-out subjects, each plane and fused",
        f"Every hold-out subject (n = {count}): 3-D Dice, recall and precision of each plane alone and fused.",
        vector=True,
    )
    names = scores.predictions(content.scores)
    shown = _all_scores(content, names[-1])
    others = tuple(block for name in names[:-1] for block in _all_scores(content, name))
    more = [Details("All 3-D scores of each plane alone", others)] if others else []
    made = table(scores.dice_by_prediction(content.scores), caption, note=NOTE)
    return [TableBlock(made), rainclouds, *shown, *more]


def _all_scores(content: RunReport, name: str) -> list[TableBlock]:
    made, count = [], content.holdout["subject"].nunique()
    for measures, what in ((False, "scores from 0 to 1"), (True, "volumes, counts and distances")):
        rows = scores.all_scores(content.scores, name, measures)
        caption = f"Test: 3-D {what}, {name} ({count} hold-out subjects, {_kind(content)})"
        digits = dict.fromkeys(("Mean", "sd", "Median", "q1", "q3"), 1) if measures else None
        if len(rows):
            made.append(TableBlock(table(rows, caption, digits, f"{NOTE} {LEFT_OUT}")))
    return made


def _by_size(content: RunReport) -> list[Block]:
    found = scores.dice_by_category(content.by_category, content.grid)
    unit = category_unit("3d", content.grid)
    by_size = table(
        found,
        f"Test: 3-D scores by size category of the true lesion volume ({unit}), fused",
        note=f"n: subjects. A mean over few subjects says little. {NOTE}",
    )
    return [TableBlock(by_size), _volume_figure(content)]


def _volume_figure(content: RunReport) -> Image:
    rows = content.holdout
    count = rows["subject"].nunique()
    empty = rows.loc[rows["lesion_voxels"] == 0, "subject"].nunique()
    missing = f" {empty} without a lesion have no place on the logarithmic axis." if empty else ""
    return style.embed(
        score_figures.draw_by_volume(rows, content.grid),
        f"3-D Dice of {count} hold-out subjects by lesion volume, for each plane and the fused mask",
        f"3-D Dice of every hold-out subject (n = {count}, {_kind(content)}) by its true lesion volume; a gray line "
        f"joins the predictions of one subject.{missing}",
        vector=True,
    )


def _one_by_one(content: RunReport) -> TableBlock:
    rows = scores.per_subject(content.holdout, content.uncertainty)
    said = (
        "Largest lesion first. HD95: 95 % Hausdorff distance. Disagreement of the planes: one minus the mean Dice of "
        "their own masks, pair by pair."
    )
    caption = f"Test: every hold-out subject (n = {len(rows)}, {_kind(content)}); scores of the fused mask"
    return TableBlock(table(rows, caption, {"Lesion, mL": 2, "Predicted, mL": 2, "HD95, mm": 1}, said))
