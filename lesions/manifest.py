"""The manifest: what the data set holds, what of it is used, and what was found wrong."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lesions.checks import Finding
from lesions.dataset import Scan
from lesions.grid import Grid, grid_from_json

FILE = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """A checked data set.

    Attributes:
        name: Of the data set.
        phantom: True where it is synthetic.
        layout: The tree that was found.
        digest: Of its files.
        grid: Of every usable scan.
        scans: The usable ones, each with a mask.
        without_mask: Subjects that cannot train (a data set's test part).
        findings: What the checks found; a finding of severity error put its scan aside.
    """

    name: str
    phantom: bool
    layout: str
    digest: str
    grid: Grid
    scans: tuple[Scan, ...]
    without_mask: tuple[str, ...]
    findings: tuple[Finding, ...]

    def write(self, folder: Path) -> None:
        """Writes manifest.json into a folder."""
        content = asdict(self) | {"grid": self.grid.as_json()}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(json.dumps(content, indent=1, default=str) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Reads what `Manifest.write` wrote."""
    content: dict[str, Any] = json.loads((folder / FILE).read_text())
    content["grid"] = grid_from_json(content["grid"])
    content["scans"] = tuple(
        Scan(s["subject"], s["session"], Path(s["image"]), Path(s["mask"])) for s in content["scans"]
    )
    content["without_mask"] = tuple(content["without_mask"])
    content["findings"] = tuple(Finding(**finding) for finding in content["findings"])
    return Manifest(**content)
