"""The section that a result can be traced by: data, code, models, packages, seeds, configuration."""

from __future__ import annotations

from reports.blocks import Block, Code, Heading, Section, TableBlock, Text
from reports.content import RunReport
from reports.tables import facts


def lineage(content: RunReport) -> Section:
    """What this run's results rest on, each fact as it was recorded."""
    blocks: list[Block] = [
        TableBlock(facts(values, name)) for name, values in content.lineage.items() if values
    ]
    if not blocks:
        blocks.append(Text("What this run rests on is not recorded.", "missing"))
    blocks.append(Heading("Configuration"))
    if content.config.strip():
        blocks.append(Code(content.config, "Configuration"))
    else:
        blocks.append(Text("The configuration is not recorded.", "missing"))
    return Section("lineage", "Lineage", tuple(blocks))
