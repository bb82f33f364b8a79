"""From an Examples artifact and settings to an exported model: what `run_fn` and the command line both do."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from lesions.grid import Grid, grid_from_json
from lesions.progress import LOGGER
from lesions.provenance import ModelCard
from lesions.slices import canvas, slice_shape
from trainer import fit, input, signatures
from trainer.settings import TrainingSettings

log = logging.getLogger(LOGGER)
FACTS = "dataset.json"  # beside the splits of every Examples artifact
HISTORY = "assets.extra/history.csv"


@dataclass(frozen=True)
class Facts:
    """What the ingest says of its records: name, kind, grid and digests of the data set."""

    name: str
    phantom: bool
    data: str
    fold_map: str
    grid: Grid

    def write(self, examples: Path) -> None:
        """Writes them beside the splits."""
        content = asdict(self) | {"grid": self.grid.as_json()}
        (examples / FACTS).write_text(json.dumps(content, indent=2) + "\n")


def read_facts(examples: Path) -> Facts:
    """Reads the facts of an Examples artifact."""
    content: dict[str, Any] = json.loads((examples / FACTS).read_text())
    content["grid"] = grid_from_json(content["grid"])
    return Facts(**content)


def checkpoint_digest(facts: Facts, plane: str, fold: int, settings: TrainingSettings, code: str) -> str:
    """Names the folder of a training's checkpoints; epochs and patience are left out, so that it can be extended."""
    fixed = {key: value for key, value in asdict(settings).items() if key not in ("epochs", "patience")}
    said = json.dumps([facts.data, facts.fold_map, plane, fold, fixed, code], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def train(
    examples: Path,
    plane: str,
    fold: int,
    training_folds: Sequence[int],
    settings: TrainingSettings,
    checkpoints: Path,
    code: str,
    output: Path,
) -> ModelCard:
    """Trains, or goes on training, and exports the best epoch as a SavedModel with its card.

    Args:
        examples: Folder of the plane's Examples artifact.
        plane: axial, sagittal or coronal.
        fold: The validation fold.
        training_folds: The others.
        settings: Of the training.
        checkpoints: Folder under which this training keeps its own, `<plane>/fold_<k>/<digest>`.
        code: Digest of the code that trains.
        output: Where the SavedModel goes.

    Returns:
        The card written into the model.
    """
    facts = read_facts(examples)
    shape, padding = slice_shape(facts.grid.shape, plane), canvas(facts.grid.shape, plane)
    training, validation = input.read_index(examples, training_folds), input.read_index(examples, [fold])
    model = fit.build(settings, shape, padding)
    name = f"{plane}, fold {fold}"
    log.info(
        "%s: %s, %d parameters, %d subjects and %d slices with lesion, validated on %d subjects",
        name,
        settings.network,
        model.count_params(),
        len(training.subjects),
        int((training.rows["category"] > 0).sum()),
        len(validation.subjects),
    )
    digest = checkpoint_digest(facts, plane, fold, settings, code)
    folder = checkpoints / plane / f"fold_{fold}" / digest
    state = fit.fit(model, training, validation, settings, shape, padding, folder, name)
    signatures.export(model, shape, padding, output)
    card = ModelCard(
        plane=plane,
        fold=fold,
        network=settings.network,
        loss=settings.loss,
        grid=facts.grid,
        canvas=(padding.rows, padding.columns),
        dataset=facts.name,
        phantom=facts.phantom,
        subjects=len(training.subjects),
        validation_subjects=len(validation.subjects),
        fold_map=facts.fold_map,
        data=facts.data,
        epochs=state.epoch,
        best_epoch=state.best_epoch,
        parameters=model.count_params(),
        software={package: metadata.version(package) for package in ("tensorflow", "keras", "numpy")},
    )
    card.write(output)
    fit.write_history(output / HISTORY, state.history)
    return card
