"""One training of one plane and validation fold: epoch by epoch, resumable to the bit."""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import filelock
import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from lesions.errors import WorkError
from lesions.files import write_csv
from lesions.progress import LOGGER
from lesions.slices import Canvas
from trainer import checkpoint, input, losses, networks, optimizers, replicas, steps, watch, workers
from trainer.augment import augmenter
from trainer.board import Board, shown
from trainer.scores import scores
from trainer.settings import TrainingSettings

log = logging.getLogger(LOGGER)
LAST, BEST = "last.npz", "best.npz"
VALIDATION_EPOCH = 2**31  # the validation slices' own draw of normals, the same in every epoch
STATISTICS_EPOCH, STATISTICS_BATCH = 2**30, 8  # batch normalization's statistics: own draws; small for memory


def build(
    settings: TrainingSettings,
    shape: tuple[int, int],
    padding: Canvas,
    strategy: replicas.Strategy | None = None,
) -> keras.Model:
    """Builds and compiles the network for slices on their canvas, from the settings' seed.

    Args:
        settings: Of the training.
        shape: (height, width) of the slices.
        padding: Their canvas.
        strategy: Of several workers; None: the settings' replicas in this process.

    Raises:
        InputError: More replicas than there are devices.
    """
    keras.utils.set_random_seed(settings.seed)
    keras.config.set_dtype_policy(settings.precision)
    rows, columns = padding.padded(*shape)
    strategy = strategy or replicas.strategy(settings.replicas)
    count = strategy.num_replicas_in_sync
    with strategy.scope():
        model = networks.build(
            settings.network, rows, columns, settings.batch_norm_momentum, settings.network_options
        )
        if count > 1:
            replicas.synchronize(model)
        model.compile(
            optimizer=optimizers.optimizer(settings),
            loss=losses.get(settings.loss, replicas.over(count)),
            metrics=scores(),
            jit_compile=settings.jit_compile,
        )
        model.optimizer.build(model.trainable_variables)  # Keras' own around ours under mixed_float16
    return model


@dataclass(frozen=True, eq=False)
class Feed:
    """Records as batches for one network.

    Attributes:
        index: Of the records.
        settings: Of the training.
        plane: axial, sagittal or coronal.
        shape: (height, width) of its slices.
        padding: Their canvas.
    """

    index: input.Index
    settings: TrainingSettings
    plane: str
    shape: tuple[int, int]
    padding: Canvas

    def plan(self, draw: int) -> list[np.ndarray]:
        """Record numbers of the batches of an epoch, or of another draw."""
        return input.plan(self.index, self.settings.batch_size, self.settings.seed, draw)

    def batches(self, plan: Sequence[np.ndarray], changed_in: int | None = None) -> tf.data.Dataset:
        """The records of a plan, augmented as in an epoch where one is given."""
        settings = self.settings
        augment = None
        if changed_in is not None:
            augment = augmenter(settings.augmentation, self.plane, settings.seed, changed_in)
        context = networks.get(settings.network).context
        return input.dataset(self.index, plan, self.shape, self.padding, context, augment)


def fit(
    model: keras.Model,
    training: Feed,
    validation: Feed,
    folder: Path,
    name: str,
    team: workers.Team | None = None,
) -> checkpoint.State:
    """Trains until `epochs` or until `patience` epochs brought nothing; leaves the best epoch's weights in the model.

    In a team that is so in the process that writes.

    Args:
        model: From `build`.
        training: The training folds' records.
        validation: The validation fold's, under the same settings.
        folder: Keeps last.npz, best.npz and history.csv; a later call goes on from there, also to more epochs.
        name: For log lines.
        team: The processes that train together, of which the first alone writes; None: only this one.

    Returns:
        The state after the last epoch.

    Raises:
        WorkError: Another process trains in `folder`; it has a checkpoint of another network; or the loss is no
            number; or the team's others train something else.
    """
    settings = training.settings
    writes = team is None or team.chief
    with _only_writer(folder) if writes else nullcontext():
        state = _resumed(model, settings, folder, name)
        if team:
            same = {"epochs": settings.epochs, "patience": settings.patience, "last checkpoint": state.epoch}
            team.agree(training=zlib.crc32(folder.name.encode()), **same)
        board = None
        if settings.tensorboard and writes and not finished(state, settings):
            board = _board(folder / "tensorboard", validation, name)
        goes = steps.of(model)
        validate = partial(goes.evaluate, validation, validation.plan(VALIDATION_EPOCH))
        while not finished(state, settings):
            row = _epoch(model, goes, training, validate, state, name)
            state.add(row)
            if writes:
                _keep(model, state, folder)
            if board:
                board.write(row, model)
            log.info("%s: %s", name, _line(row, settings.epochs, state.best_epoch))
        if team:
            team.agree(end=state.epoch)  # nobody leaves before the last checkpoint is written
        if writes:
            checkpoint.load(folder / BEST, model.variables, settings.architecture)
        return state


def _resumed(model: keras.Model, settings: TrainingSettings, folder: Path, name: str) -> checkpoint.State:
    """Where the training stands, its variables put back."""
    last = folder / LAST
    if not last.exists():
        return checkpoint.State(network=settings.architecture)
    state = checkpoint.load(last, _everything(model), settings.architecture)
    if not finished(state, settings):
        log.info("%s: goes on after epoch %d", name, state.epoch)
    return state


def _keep(model: keras.Model, state: checkpoint.State, folder: Path) -> None:
    """Writes what the last epoch brought."""
    if state.best_epoch == state.epoch:
        checkpoint.save(folder / BEST, model.variables, state)
    checkpoint.save(folder / LAST, _everything(model), state)
    write_history(folder / "history.csv", state.history)


def _everything(model: keras.Model) -> list[keras.Variable]:
    """All that an epoch changes."""
    return list(model.variables + model.optimizer.variables)


def _board(folder: Path, validation: Feed, name: str) -> Board:
    log.info("%s: tensorboard --logdir %s", name, folder)
    ((image, mask),) = validation.batches([shown(validation.index)])
    target = networks.get(validation.settings.network).context.index(0)
    return Board(folder, image, mask, target)


def reached(folder: Path) -> checkpoint.State:
    """Where the training that keeps its checkpoints in `folder` stands; without one, at its start."""
    last = folder / LAST
    return checkpoint.read_state(last) if last.exists() else checkpoint.State()


def finished(state: checkpoint.State, settings: TrainingSettings) -> bool:
    """Whether a training in this state ends: its epochs are done, or `patience` of them brought nothing."""
    return state.epoch >= settings.epochs or state.epoch - state.best_epoch >= settings.patience


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Holds the folder's lock, or says who does."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise WorkError(f"{folder}: another process trains here; wait for it or stop it") from None
    try:
        yield
    finally:
        lock.release()


def _epoch(
    model: keras.Model,
    goes: steps.Steps,
    training: Feed,
    validate: Callable[[], dict[str, float]],
    state: checkpoint.State,
    name: str,
) -> dict[str, Any]:
    """Trains and validates one epoch; returns its row of the history."""
    start = time.perf_counter()
    settings, epoch = training.settings, state.epoch
    rate = optimizers.rate_after(settings, state.history)
    if rate is not None:
        model.optimizer.learning_rate = rate
    plan = training.plan(epoch)
    watched = [
        watch.Finite(training.index, plan, name, epoch),
        watch.Steps(f"{name}, epoch {epoch + 1}", len(plan)),
    ]
    row = {"epoch": epoch + 1} | goes.train(training, plan, epoch, watched)
    slices = sum(len(batch) for batch in plan)
    speed = slices / (time.perf_counter() - start)
    if settings.batch_norm_slices:
        drawn = input.plan(training.index, STATISTICS_BATCH, settings.seed, STATISTICS_EPOCH + epoch)
        goes.renew(training, drawn[: max(1, settings.batch_norm_slices // STATISTICS_BATCH)])
    row |= {f"val_{key}": value for key, value in validate().items()}
    if not np.isfinite(row["val_loss"]):
        raise WorkError(f"{name}: the validation loss of epoch {epoch + 1} is no number; lower learning_rate")
    row["learning_rate"] = float(tf.convert_to_tensor(model.optimizer.learning_rate))
    row |= {"steps": len(plan), "slices": slices, "slices_per_second": speed}
    row["seconds"] = time.perf_counter() - start
    return row


def _line(row: dict[str, Any], epochs: int, best: int) -> str:
    mark = " (best so far)" if best == row["epoch"] else ""
    return (
        f"epoch {row['epoch']}/{epochs}  loss {row['loss']:.4f}  val_loss {row['val_loss']:.4f}  "
        f"val_dice {row['val_dice']:.3f}  {row['seconds']:.0f} s, {row['slices_per_second']:.0f} slices/s{mark}"
    )


def write_history(path: Path, history: Sequence[dict[str, Any]]) -> None:
    """Writes one CSV row per epoch; temporary name first."""
    write_csv(path, pd.DataFrame(history))
