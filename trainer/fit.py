"""One training of one plane and validation fold: epoch by epoch, resumable to the bit."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import keras
import numpy as np
import pandas as pd

from lesions.errors import WorkError
from lesions.files import write_csv
from lesions.progress import LOGGER, to_log
from lesions.slices import Canvas
from trainer import checkpoint, input, losses, networks
from trainer.scores import scores
from trainer.settings import TrainingSettings

log = logging.getLogger(LOGGER)
LAST = "last.npz"
VALIDATION_EPOCH = 2**31  # the validation slices' own draw of normals, the same in every epoch
STATISTICS_EPOCH, STATISTICS_BATCH = (
    2**30,
    8,
)  # batch normalization's statistics: own draws, a batch that costs no memory


def build(settings: TrainingSettings, shape: tuple[int, int], padding: Canvas) -> keras.Model:
    """Builds and compiles the network for slices of (height, width) on their canvas, from the settings' seed."""
    keras.utils.set_random_seed(settings.seed)
    keras.config.set_dtype_policy(settings.precision)
    rows, columns = padding.padded(*shape)
    model = networks.build(
        settings.network, rows, columns, settings.batch_norm_momentum, settings.network_options
    )
    schedule = keras.optimizers.schedules.ExponentialDecay(
        settings.learning_rate, settings.decay_steps, settings.decay_rate
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay)
    model.compile(optimizer=optimizer, loss=losses.get(settings.loss), metrics=scores(), jit_compile=False)
    optimizer.build(model.trainable_variables)
    return model


def fit(
    model: keras.Model,
    training: input.Index,
    validation: input.Index,
    settings: TrainingSettings,
    shape: tuple[int, int],
    padding: Canvas,
    folder: Path,
    name: str = "training",
) -> checkpoint.State:
    """Trains until `epochs` or until `patience` epochs brought nothing; leaves the best epoch's weights in the model.

    Args:
        model: From `build`.
        training: The training folds' records.
        validation: The validation fold's.
        settings: Of this training.
        shape: (height, width) of the slices.
        padding: Their canvas.
        folder: Keeps last.npz, best.npz and history.csv; a later call goes on from there, also to more epochs.
        name: For log lines.

    Returns:
        The state after the last epoch.

    Raises:
        WorkError: Another process trains in `folder`; or the loss is no number.
    """
    with _only_writer(folder):
        everything = model.variables + model.optimizer.variables
        last, best = folder / LAST, folder / "best.npz"
        state = checkpoint.State()
        if last.exists():
            state = checkpoint.load(last, everything)
            if not finished(state, settings):
                log.info("%s: goes on after epoch %d", name, state.epoch)
        held_out = input.dataset(
            validation,
            input.plan(validation, settings.batch_size, settings.seed, VALIDATION_EPOCH),
            shape,
            padding,
            networks.get(settings.network).context,
        )
        while not finished(state, settings):
            row = _epoch(model, training, held_out, settings, shape, padding, state.epoch, name)
            state.epoch += 1
            state.history.append(row)
            if row["val_loss"] < state.best_loss:
                state.best_epoch, state.best_loss = state.epoch, row["val_loss"]
                checkpoint.save(best, model.variables, state)
            checkpoint.save(last, everything, state)
            write_history(folder / "history.csv", state.history)
            log.info("%s: %s", name, _line(row, settings.epochs, state.best_epoch))
        checkpoint.load(best, model.variables)
        return state


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
    training: input.Index,
    held_out: Any,
    settings: TrainingSettings,
    shape: tuple[int, int],
    padding: Canvas,
    epoch: int,
    name: str,
) -> dict[str, Any]:
    start = time.perf_counter()
    context = networks.get(settings.network).context
    plan = input.plan(training, settings.batch_size, settings.seed, epoch)
    batches = input.dataset(training, plan, shape, padding, context)
    bar = _Steps(f"{name}, epoch {epoch + 1}", len(plan))
    history = model.fit(batches, epochs=1, verbose=0, callbacks=[bar]).history
    slices = sum(len(batch) for batch in plan)
    rate = slices / (time.perf_counter() - start)
    if settings.batch_norm_slices:
        drawn = input.plan(training, STATISTICS_BATCH, settings.seed, STATISTICS_EPOCH + epoch)
        drawn = drawn[: max(1, settings.batch_norm_slices // STATISTICS_BATCH)]
        renew_statistics(model, input.dataset(training, drawn, shape, padding, context))
    row = {"epoch": epoch + 1} | {key: float(values[0]) for key, values in history.items()}
    row |= {
        f"val_{key}": float(v) for key, v in model.evaluate(held_out, verbose=0, return_dict=True).items()
    }
    if not np.isfinite([row["loss"], row["val_loss"]]).all():
        raise WorkError(f"{name}: the loss of epoch {epoch + 1} is no number; lower learning_rate")
    row |= {"steps": len(plan), "slices": slices, "slices_per_second": rate}
    row["seconds"] = time.perf_counter() - start
    return row


def renew_statistics(model: keras.Model, batches: Iterable[Any]) -> None:
    """Computes batch normalization's statistics anew: their mean over some batches, the weights held fixed.

    The running averages of training belong to weights that have changed since, and from small batches they
    are noisy ("precise" statistics: Wu and Johnson, Rethinking "Batch" in BatchNorm, 2021, arXiv 2105.07576).

    Args:
        model: Any network; only its BatchNormalization layers' averages change.
        batches: (image, mask) of training slices.
    """
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for number, (image, _) in enumerate(batches):
        for layer in layers:
            layer.momentum = number / (number + 1)  # the running average becomes the mean over all batches
        model(image, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


class _Steps(keras.callbacks.Callback):
    """Shows the steps of an epoch, once a second at most."""

    def __init__(self, description: str, total: int):
        super().__init__()
        self.progress, self.total, self.shown = to_log(description), total, 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        now = time.monotonic()
        if now - self.shown > 1.0 or batch + 1 == self.total:
            self.shown = now
            self.progress(batch + 1, self.total)


def _line(row: dict[str, Any], epochs: int, best: int) -> str:
    mark = " (best so far)" if best == row["epoch"] else ""
    return (
        f"epoch {row['epoch']}/{epochs}  loss {row['loss']:.4f}  val_loss {row['val_loss']:.4f}  "
        f"val_dice {row['val_dice']:.3f}  {row['seconds']:.0f} s, {row['slices_per_second']:.0f} slices/s{mark}"
    )


def write_history(path: Path, history: Sequence[dict[str, Any]]) -> None:
    """Writes one CSV row per epoch; temporary name first."""
    write_csv(path, pd.DataFrame(history))
