"""One training of one plane and validation fold: epoch by epoch, resumable to the bit."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
from trainer import checkpoint, input, losses, networks, optimizers, replicas, watch
from trainer.augment import augmenter
from trainer.board import Board, shown
from trainer.scores import scores
from trainer.settings import TrainingSettings
from trainer.statistics import renew_statistics

log = logging.getLogger(LOGGER)
LAST = "last.npz"
VALIDATION_EPOCH = 2**31  # the validation slices' own draw of normals, the same in every epoch
STATISTICS_EPOCH, STATISTICS_BATCH = 2**30, 8  # batch normalization's statistics: own draws; small for memory


def build(settings: TrainingSettings, shape: tuple[int, int], padding: Canvas) -> keras.Model:
    """Builds and compiles the network for slices of (height, width) on their canvas, from the settings' seed.

    Raises:
        InputError: More replicas than there are devices.
    """
    keras.utils.set_random_seed(settings.seed)
    keras.config.set_dtype_policy(settings.precision)
    rows, columns = padding.padded(*shape)
    with replicas.scope(settings.replicas):
        model = networks.build(
            settings.network, rows, columns, settings.batch_norm_momentum, settings.network_options
        )
        if settings.replicas > 1:
            replicas.synchronize(model)
        model.compile(
            optimizer=optimizers.optimizer(settings),
            loss=losses.get(settings.loss, replicas.over(settings.replicas)),
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


def fit(model: keras.Model, training: Feed, validation: Feed, folder: Path, name: str) -> checkpoint.State:
    """Trains until `epochs` or until `patience` epochs brought nothing; leaves the best epoch's weights in the model.

    Args:
        model: From `build`.
        training: The training folds' records.
        validation: The validation fold's, under the same settings.
        folder: Keeps last.npz, best.npz and history.csv; a later call goes on from there, also to more epochs.
        name: For log lines.

    Returns:
        The state after the last epoch.

    Raises:
        WorkError: Another process trains in `folder`; it has a checkpoint of another network; or the loss is no
            number.
    """
    settings = training.settings
    with _only_writer(folder):
        everything = model.variables + model.optimizer.variables
        last, best = folder / LAST, folder / "best.npz"
        state = checkpoint.State(network=settings.architecture)
        if last.exists():
            state = checkpoint.load(last, everything, settings.architecture)
            if not finished(state, settings):
                log.info("%s: goes on after epoch %d", name, state.epoch)
        held_out = validation.batches(validation.plan(VALIDATION_EPOCH))
        board = None
        while not finished(state, settings):
            row = _epoch(model, training, held_out, state, name)
            state.epoch += 1
            state.history.append(row)
            if row["val_loss"] < state.best_loss:
                state.best_epoch, state.best_loss = state.epoch, row["val_loss"]
                checkpoint.save(best, model.variables, state)
            checkpoint.save(last, everything, state)
            write_history(folder / "history.csv", state.history)
            if settings.tensorboard:
                board = board or _board(folder / "tensorboard", validation, name)
                board.write(row, model)
            log.info("%s: %s", name, _line(row, settings.epochs, state.best_epoch))
        checkpoint.load(best, model.variables, settings.architecture)
        return state


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
    model: keras.Model, training: Feed, held_out: tf.data.Dataset, state: checkpoint.State, name: str
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
    history = model.fit(training.batches(plan, epoch), epochs=1, verbose=0, callbacks=watched).history
    slices = sum(len(batch) for batch in plan)
    speed = slices / (time.perf_counter() - start)
    if settings.batch_norm_slices:
        drawn = input.plan(training.index, STATISTICS_BATCH, settings.seed, STATISTICS_EPOCH + epoch)
        renew_statistics(
            model, training.batches(drawn[: max(1, settings.batch_norm_slices // STATISTICS_BATCH)])
        )
    row = {"epoch": epoch + 1} | {key: float(values[0]) for key, values in history.items()}
    row |= {
        f"val_{key}": float(v) for key, v in model.evaluate(held_out, verbose=0, return_dict=True).items()
    }
    if not np.isfinite(row["val_loss"]):
        raise WorkError(f"{name}: the validation loss of epoch {epoch + 1} is no number; lower learning_rate")
    row["learning_rate"] = float(model.optimizer.learning_rate)
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
