"""From an Examples artifact and settings to an exported model: what `run_fn` and `raxnet train` both do."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np

from lesions.grid import Grid, grid_from_json
from lesions.progress import LOGGER
from lesions.provenance import ModelCard
from lesions.slices import canvas, slice_shape
from trainer import checkpoint, fit, input, networks, signatures, workers
from trainer.settings import FREE, TrainingSettings

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


@dataclass(frozen=True)
class Training:
    """One training: what it needs to start, here or on another machine that sees the folders.

    Attributes:
        examples: Folder of the plane's Examples artifact.
        plane: axial, sagittal or coronal.
        fold: The validation fold.
        training_folds: The others.
        settings: Of the training.
        checkpoints: Folder under which every training keeps its own, `<plane>/fold_<k>/<digest>`.
        code: Digest of the code that trains.
        variant: What is compared with others in `raxnet compare`, for people; empty in a run.
    """

    examples: Path
    plane: str
    fold: int
    training_folds: tuple[int, ...]
    settings: TrainingSettings
    checkpoints: Path
    code: str
    variant: str = ""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.variant}{', ' if self.variant else ''}{self.plane}, fold {self.fold}"

    @property
    def folder(self) -> Path:
        """Of its checkpoints; what may change within a training is not in the digest, so that it can be extended."""
        facts = read_facts(self.examples)
        fixed = {key: v for key, v in asdict(self.settings).items() if key not in FREE}
        said = [facts.data, facts.fold_map, self.plane, self.fold, fixed, self.code]
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
        return self.checkpoints / self.plane / f"fold_{self.fold}" / digest

    @property
    def finished(self) -> bool:
        """Whether its checkpoints are those of a training that came to its end."""
        return fit.finished(fit.reached(self.folder), self.settings)

    def feeds(self) -> tuple[fit.Feed, fit.Feed]:
        """The records trained on, and those of the validation fold."""
        grid = read_facts(self.examples).grid
        shape, padding = slice_shape(grid.shape, self.plane), canvas(grid.shape, self.plane)
        trained, held_out = (
            fit.Feed(input.read_index(self.examples, folds), self.settings, self.plane, shape, padding)
            for folds in (self.training_folds, [self.fold])
        )
        return trained, held_out


def train(training: Training, team: workers.Team | None = None) -> tuple[keras.Model, checkpoint.State]:
    """Trains, or goes on training, to the end; a finished training is only loaded.

    Args:
        training: What to train.
        team: The processes that train it together; None: only this one.

    Returns:
        The network with the best epoch's weights, and the state after the last epoch.

    Raises:
        WorkError: Another process trains it, or it failed.
    """
    if team:
        with team.watched():
            return _trained(training, team)
    model, state = _trained(training, None)
    if training.settings.replicas > 1:  # finished now, so it is only loaded: onto one device, to be exported
        return train(replace(training, settings=replace(training.settings, replicas=1)))
    return model, state


def _trained(training: Training, team: workers.Team | None) -> tuple[keras.Model, checkpoint.State]:
    """On all the devices that it is to be trained on."""
    settings = training.settings
    fed, held_out = training.feeds()
    model = fit.build(settings, fed.shape, fed.padding, team.strategy if team else None)
    if not training.finished:
        log.info(
            "%s: %s, %d parameters, %d subjects and %d slices with lesion, validated on %d subjects",
            training.name,
            settings.network,
            model.count_params(),
            len(fed.index.subjects),
            int((fed.index.rows["category"] > 0).sum()),
            len(held_out.index.subjects),
        )
    return model, fit.fit(model, fed, held_out, training.folder, training.name, team)


def export(training: Training, model: keras.Model, state: checkpoint.State, output: Path) -> ModelCard:
    """Writes a trained network as a SavedModel with its card and its learning curve.

    Args:
        training: What was trained.
        model: From `train`.
        state: From `train`.
        output: Where the SavedModel goes.

    Returns:
        The card written into the model.
    """
    facts = read_facts(training.examples)
    fed, held_out = training.feeds()
    context = networks.get(training.settings.network).context
    card = ModelCard(
        plane=training.plane,
        fold=training.fold,
        network=training.settings.network,
        loss=training.settings.loss,
        grid=facts.grid,
        canvas=(fed.padding.rows, fed.padding.columns),
        dataset=facts.name,
        phantom=facts.phantom,
        subjects=len(fed.index.subjects),
        validation_subjects=len(held_out.index.subjects),
        fold_map=facts.fold_map,
        data=facts.data,
        epochs=state.epoch,
        best_epoch=state.best_epoch,
        parameters=model.count_params(),
        software={package: metadata.version(package) for package in ("tensorflow", "keras", "numpy")},
        context=context,
        weights=weights_digest(model),
    )
    signatures.export(model, fed.shape, fed.padding, output, context, card)
    fit.write_history(output / HISTORY, state.history)
    return card


def weights_digest(model: keras.Model) -> str:
    """SHA-256 over a network's weights, in its own order."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
