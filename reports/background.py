"""The sections that say where the result comes from: data, distributions, split, training, run."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from lesions.checks import ERROR, NOTE, SEVERITIES, WARNING
from reports import curves, distributions, style
from reports.blocks import Block, Code, Image, Section, TableBlock, Text
from reports.content import RunReport, Training
from reports.tables import duration, facts, table

MOST_FINDINGS = 200
MWU_LIMIT = 0.05  # the method's promise (raxnet.md, 3)


def dataset(content: RunReport) -> Section:
    """What the data set is, and what was left out of it and why."""
    blocks: list[Block] = []
    if content.dataset:
        blocks.append(TableBlock(facts(content.dataset, "Data set")))
    else:
        blocks.append(Text("The data set is not described in this run.", "missing"))
    return Section("data", "Data", (*blocks, *_findings(content.findings)))


def _findings(findings: pd.DataFrame) -> list[Block]:
    """What was put aside and what was only said: counted by kind, then file by file, gravest first."""
    if findings.empty:
        return [Text("Nothing was left out: every file passed its checks.", "good")]
    findings = findings.sort_values("severity", key=lambda s: s.map(SEVERITIES.index), kind="stable")
    counts = {severity: int((findings["severity"] == severity).sum()) for severity in SEVERITIES}
    errors = findings[findings["severity"] == ERROR]
    out = len(errors.groupby(["subject", errors.get("session", errors["subject"])]))
    text = f"Left out: {_count(out, 'scan')} ({_count(counts[ERROR], 'error')}); "
    if counts[WARNING]:
        text += f"{_count(counts[WARNING], 'warning')} (used, but to be looked at); "
    text += f"{_count(counts[NOTE], 'note')}."
    kinds = findings.groupby(["severity", "problem"], sort=False).size().rename("files").reset_index()
    kinds = kinds.sort_values("files", ascending=False, kind="stable")
    kinds = kinds.sort_values("severity", key=lambda s: s.map(SEVERITIES.index), kind="stable")
    caption = "What the checks found, file by file: errors are left out, warnings and notes are not"
    details = table(findings.drop(columns="session", errors="ignore"), caption, most=MOST_FINDINGS)
    tone = "bad" if counts[ERROR] or counts[WARNING] else ""
    return [Text(text, tone), TableBlock(table(kinds, "What the checks found, by kind")), TableBlock(details)]


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def lesion_sizes(content: RunReport) -> Section:
    """Lesion sizes of the whole data set (before the split), the hold-out and every fold (after)."""
    tables = {"3d": content.tables_3d, **content.tables_plane}
    tables = {name: frame for name, frame in tables.items() if not frame.empty}
    if not tables:
        return Section("sizes", "Lesion sizes", (Text("No lesion statistics in this run.", "missing"),))
    text = (
        "Before the split (whole) and after it (hold-out, training folds). Shape: density of the logarithm "
        "of the size; bar: quartiles with the median in white; thin line: 5th to 95th percentile; dots: "
        f"{distributions.MOST_DOTS} at most, at random. Dashed: median of the whole. Dotted: edges of size "
        "categories."
    )
    blocks: list[Block] = [Text(text)]
    for name, frame in tables.items():
        blocks += _sizes(content, name, frame)
    return Section("sizes", "Lesion sizes", tuple(blocks))


def _sizes(content: RunReport, name: str, frame: pd.DataFrame) -> list[Block]:
    sizes = distributions.groups(frame, content.folds)
    what = "subjects" if name == "3d" else f"{name} slices with a lesion"
    count = len(sizes[distributions.WHOLE])
    title = f"{'3-D' if name == '3d' else name.capitalize()}: lesion sizes of {count:,} {what}"
    groups = ", ".join(f"{group} (n = {len(values):,})" for group, values in sizes.items())
    figure = distributions.draw_sizes(sizes, name, content.grid)
    counts = distributions.category_counts(sizes, name, content.grid)
    caption = f"{title}, by size category ({distributions.category_unit(name, content.grid)})"
    return [
        style.embed(figure, f"Distribution of lesion sizes, {groups}", f"{title}."),
        TableBlock(table(counts, caption)),
    ]


def split(content: RunReport) -> Section:
    """Hold-out and folds, and the proof that they are alike."""
    if content.folds.empty:
        return Section("split", "Split", (Text("No fold map in this run.", "missing"),))
    counts = content.folds.groupby("fold")["subject"].nunique()
    sizes = pd.DataFrame({"Part": [_part(fold) for fold in counts.index], "Subjects": counts.to_numpy()})
    caption = f"Subjects by part (n = {content.folds['subject'].nunique():,})"
    blocks: list[Block] = [_disjoint(content.folds), TableBlock(table(sizes, caption))]
    return Section("split", "Split", (*blocks, *_quality(content.quality)))


def _disjoint(folds: pd.DataFrame) -> Text:
    parts = folds.groupby("subject")["fold"].nunique()
    twice = int((parts > 1).sum())
    if twice:
        verb = "is" if twice == 1 else "are"
        return Text(f"{_count(twice, 'subject')} {verb} in several parts: the results are not valid.", "bad")
    return Text("No subject is in two parts.", "good")


def _quality(quality: pd.DataFrame) -> list[Block]:
    if quality.empty:
        return [Text("The quality of the folds was not measured.", "missing")]
    low = quality[quality["mwu_p"] < MWU_LIMIT]
    known = quality["mwu_p"].notna().sum()
    alike = f"Lesion sizes: MWU p is {MWU_LIMIT} or more in all {known} comparisons."
    differ = f"Lesion sizes: MWU p is below {MWU_LIMIT} in {len(low)} of {known} comparisons."
    caption = "Lesion sizes of each fold against the other folds, and of the hold-out against all folds"
    note = (
        "n: subjects (3d) or slices with a lesion (planes). TV: total variation over six size categories. "
        "KS: Kolmogorov-Smirnov distance. MWU p: Mann-Whitney U test, two-sided."
    )
    named = quality.assign(fold=[_part(fold) for fold in quality["fold"]])
    made = table(named, caption, {"tv": 4, "ks": 4}, note)
    return [Text(differ if len(low) else alike, "bad" if len(low) else "good"), TableBlock(made)]


def _part(fold: int) -> str:
    return "hold-out" if fold == 0 else f"fold {fold}"


def training(content: RunReport) -> Section:
    """Learning curves and what each training took."""
    if not content.trainings:
        return Section("training", "Training", (Text("No training is recorded in this run.", "missing"),))
    rows = pd.DataFrame([_training_row(t) for t in content.trainings])
    made = table(rows, f"Trainings (n = {len(rows)})", note="Validation figures are those of the epoch kept.")
    images = [_curves(group) for group in curves.by_figure(content.trainings)]
    return Section("training", "Training", (TableBlock(made), *images))


def _curves(group: list[Training]) -> Image:
    names = ", ".join(f"{t.plane} fold {t.fold}" for t in group)
    caption = f"Learning curves: {names}. Dotted line and diamond: the epoch whose weights were kept."
    return style.embed(curves.draw_curves(group), f"Learning curves of {names}", caption, vector=True)


def _training_row(item: Training) -> dict[str, Any]:
    history = item.history
    kept = item.best_epoch
    seconds = float(history["seconds"].sum()) if "seconds" in history else math.nan
    return {
        "Plane": item.plane,
        "Fold": item.fold,
        "Epochs": len(history),
        "Epoch kept": kept,
        "Validation loss": None if kept is None else curves.value_at(history, "val_loss", kept),
        "Validation Dice (slices)": None if kept is None else curves.value_at(history, "val_dice", kept),
        "Time": duration(seconds),
    }


def anomalies(content: RunReport) -> Section:
    """What the validation of the records found."""
    if content.anomalies.empty:
        return Section("anomalies", "Anomalies", (Text("No anomalies were recorded."),))
    rows = content.anomalies
    found = int((rows["problem"].fillna("") != "").sum()) if "problem" in rows else len(rows)
    text = f"{found:,} of {len(rows):,} checks of the records found an anomaly."
    made = table(rows, "Checks of the records", most=MOST_FINDINGS)
    return Section("anomalies", "Anomalies", (Text(text, "bad" if found else "good"), TableBlock(made)))


def run(content: RunReport) -> Section:
    """Times, device, software, configuration."""
    plain = {name: value for name, value in content.run.items() if not isinstance(value, dict)}
    blocks: list[Block] = [TableBlock(facts(plain, "Run"))] if plain else []
    blocks += [
        TableBlock(facts(value, str(name))) for name, value in content.run.items() if isinstance(value, dict)
    ]
    if not blocks:
        blocks.append(Text("Times, device and software are not recorded.", "missing"))
    if content.config.strip():
        blocks.append(Code(content.config, "Configuration"))
    else:
        blocks.append(Text("The configuration is not recorded.", "missing"))
    return Section("run", "Run", tuple(blocks))
