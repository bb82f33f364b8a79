"""Everything that a training needs to go on exactly where it was, in one file per epoch."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from lesions.errors import WorkError

_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


@dataclass
class State:
    """Where a training stands after a completed epoch.

    Attributes:
        epoch: Completed epochs.
        best_epoch: The one with the lowest validation loss, from 1; 0 before the first.
        best_loss: That loss.
        history: One row per epoch.
        network: What is trained (`TrainingSettings.architecture`).
    """

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    history: list[dict[str, Any]] = field(default_factory=list)
    network: str = ""

    def add(self, row: dict[str, Any]) -> None:
        """Counts an epoch: its row of the history, with val_loss."""
        self.epoch += 1
        self.history.append(row)
        if row["val_loss"] < self.best_loss:
            self.best_epoch, self.best_loss = self.epoch, row["val_loss"]


def save(path: Path, variables: list[keras.Variable], state: State) -> None:
    """Writes variables and state to a temporary file, then renames it: a kill leaves the old or the new one."""
    arrays = {f"v{i:04d}": np.asarray(variable.numpy()) for i, variable in enumerate(variables)}
    arrays["state"] = np.frombuffer(json.dumps(asdict(state)).encode(), dtype=np.uint8)
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    with partial.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def read_state(path: Path) -> State:
    """Reads the state alone, without the variables.

    Raises:
        WorkError: The file is damaged.
    """
    try:
        with np.load(path) as saved:
            return _state(saved)
    except _DAMAGED as error:
        raise _unusable(path, error) from None


def load(path: Path, variables: list[keras.Variable], network: str) -> State:
    """Puts saved values back into variables of the same network; returns the state.

    Args:
        path: Of `save`.
        variables: Of a training of `network`.
        network: What is trained.

    Raises:
        WorkError: The file is of another network or damaged.
    """
    try:
        with np.load(path) as saved:
            state = _state(saved)
            if state.network != network:
                raise WorkError(
                    f"{path}: a checkpoint of {state.network or 'an unnamed network'}, and {network} is to be trained; "
                    "delete it to start anew"
                )
            names = sorted(name for name in saved.files if name != "state")
            if len(names) != len(variables):
                raise ValueError(f"{len(names)} variables instead of {len(variables)}")
            for name, variable in zip(names, variables, strict=True):
                variable.assign(saved[name])
    except _DAMAGED as error:
        raise _unusable(path, error) from None
    return state


def _state(saved: Any) -> State:
    return State(**json.loads(saved["state"].tobytes()))


def _unusable(path: Path, error: Exception) -> WorkError:
    return WorkError(f"{path}: cannot go on from this checkpoint ({error}); delete it to start anew")
