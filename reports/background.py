"""The sections that say where the result comes from: data, checks of the records, training."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from lesions.checks import ERROR, NOTE, SEVERITIES, WARNING
from reports import curves, style
from reports.blocks import Block, Details, Image, Section, TableBlock, Text
from reports.content import RunReport, Training
from reports.distributions import counted
from reports.tables import duration, facts, table

MOST_FINDINGS = 200


def dataset(content: RunReport) -> Section:
    """What the data set is, and what was left out of it and why."""
    blocks: list[Block] = []
    if content.dataset:
        blocks.append(TableBlock(facts(content.dataset, "Data set")))
    else:
        blocks.append(Text("The data set is not described in this run.", "missing"))
    return Section("data", "Data and quarantine", (*blocks, *_findings(content.findings)))


def _findings(findings: pd.DataFrame) -> list[Block]:
    """What was put aside and what was only said: counted by kind, then file by file, gravest first."""
    if findings.empty:
        return [Text("Nothing was left out: every file passed its checks.", "good")]
    findings = findings.sort_values("severity", key=lambda s: s.map(SEVERITIES.index), kind="stable")
    counts = {severity: int((findings["severity"] == severity).sum()) for severity in SEVERITIES}
    errors = findings[findings["severity"] == ERROR]
    out = len(errors.groupby(["subject", errors.get("session", errors["subject"])]))
    text = f"Left out: {counted(out, 'scan')} ({counted(counts[ERROR], 'error')}); "
    if counts[WARNING]:
        text += f"{counted(counts[WARNING], 'warning')} (used, but to be looked at); "
    text += f"{counted(counts[NOTE], 'note')}."
    kinds = findings.groupby(["severity", "problem"], sort=False).size().rename("files").reset_index()
    kinds = kinds.sort_values("files", ascending=False, kind="stable")
    kinds = kinds.sort_values("severity", key=lambda s: s.map(SEVERITIES.index), kind="stable")
    caption = "What the checks found, file by file: errors are left out, warnings and notes are not"
    details = table(findings.drop(columns="session", errors="ignore"), caption, most=MOST_FINDINGS)
    tone = "bad" if counts[ERROR] or counts[WARNING] else ""
    return [
        Text(text, tone),
        TableBlock(table(kinds, "What the checks found, by kind")),
        Details(f"Every finding ({len(findings):,})", (TableBlock(details),)),
    ]


def training(content: RunReport) -> Section:
    """Learning curves and what each training took."""
    if not content.trainings:
        return Section("training", "Training", (Text("No training is recorded in this run.", "missing"),))
    rows = pd.DataFrame([_training_row(t) for t in content.trainings])
    made = table(
        rows,
        f"Trainings (n = {len(rows)})",
        note="Validation, optimistic: figures of the epoch kept, which this fold chose.",
    )
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
        "Validation Dice (pooled pixels)": None
        if kept is None
        else curves.value_at(history, "val_dice", kept),
        "Time": duration(seconds),
    }


def anomalies(content: RunReport) -> Section:
    """What the validation of the records found."""
    if content.anomalies.empty:
        return Section("anomalies", "Checks of the records", (Text("No checks were recorded.", "missing"),))
    rows = content.anomalies
    found = int((rows["problem"].fillna("") != "").sum()) if "problem" in rows else len(rows)
    text = f"{found:,} of {len(rows):,} checks of the records found an anomaly."
    made = table(rows, "Checks of the records", most=MOST_FINDINGS)
    whole = Details(f"Every check ({len(rows):,})", (TableBlock(made),))
    return Section("anomalies", "Checks of the records", (Text(text, "bad" if found else "good"), whole))
