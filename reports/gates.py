"""The section about gates, models and the release."""

from __future__ import annotations

import pandas as pd

from reports.blocks import Block, Section, TableBlock, Text
from reports.content import RunReport
from reports.tables import facts, number, table


def gate_text(gates: pd.DataFrame) -> Text:
    """Whether the models are blessed; if not, which gates failed and by how much."""
    if gates.empty:
        return Text("No gates were recorded: nothing says whether these models are good enough.", "missing")
    failed = gates[~gates["passed"].astype(bool)]
    if failed.empty:
        return Text(f"Blessed: all {len(gates)} gates passed.", "good")
    reasons = "; ".join(f"{row.gate}, {_short(row.threshold, row.value)}" for row in failed.itertuples())
    return Text(f"Not blessed: {len(failed)} of {len(gates)} gates failed ({reasons}).", "bad")


def _short(threshold: float, value: float) -> str:
    """How far a value that failed is below its gate."""
    if pd.isna(value):
        return "no value"
    return f"{number(float(value))} is {number(float(threshold - value))} below {number(float(threshold))}"


def gates(content: RunReport) -> Section:
    """Gates, pushed models and the release."""
    blocks: list[Block] = [gate_text(content.gates)]
    if not content.gates.empty:
        blocks.append(TableBlock(table(_judged(content.gates), "Gates: a value must reach its threshold")))
    if content.models.empty:
        blocks.append(Text("No models were recorded.", "missing"))
    else:
        blocks.append(TableBlock(table(content.models, "Models", {"version": 0})))
    return Section("models", "Gates and models", (*blocks, *_release(content)))


def _judged(frame: pd.DataFrame) -> pd.DataFrame:
    results = [
        "passed" if row.passed else f"failed: {_short(row.threshold, row.value)}"
        for row in frame.itertuples()
    ]
    return frame.assign(passed=results)


def _release(content: RunReport) -> list[Block]:
    if content.release is None:
        return [Text("Nothing was released: the models in service, if any, are unchanged.", "missing")]
    return [TableBlock(facts(content.release, "Release"))]
