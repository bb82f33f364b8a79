"""Blessings by thresholds, and the log line that says which one failed and by how much."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lesions.progress import LOGGER

log = logging.getLogger(LOGGER)


@dataclass(frozen=True)
class Gate:
    """A measured value and the least that it must be."""

    gate: str
    threshold: float
    value: float

    @property
    def passed(self) -> bool:
        """False for NaN too."""
        return self.value >= self.threshold


def bless(artifact: Any, gates: Sequence[Gate]) -> pd.DataFrame:
    """Sets a ModelBlessing as TFX's Pusher reads it.

    Args:
        artifact: A ModelBlessing.
        gates: All must pass.

    Returns:
        Table of gate, threshold, value, passed.
    """
    failed = [gate for gate in gates if not gate.passed]
    for gate in failed:
        short = gate.threshold - gate.value
        log.warning(
            "not blessed: %s is %.3f, %.3f below the gate of %.3f",
            gate.gate,
            gate.value,
            short,
            gate.threshold,
        )
    blessed = not failed
    artifact.set_int_custom_property("blessed", int(blessed))
    folder = Path(artifact.uri)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ("BLESSED" if blessed else "NOT_BLESSED")).touch()
    return pd.DataFrame([asdict(gate) | {"passed": gate.passed} for gate in gates])
