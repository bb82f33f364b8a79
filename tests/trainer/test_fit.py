"""Trainings: resumable to the bit, extendable, one writer, best epoch kept."""

import csv
import os
import re
import signal
import subprocess
import sys
import time

import filelock
import keras
import numpy as np
import pytest
import tensorflow as tf

from lesions.errors import WorkError
from lesions.slices import canvas, slice_shape
from tests.conftest import SMALLEST
from tests.trainer.conftest import GRID
from trainer import fit, input, losses, steps
from trainer.networks import NETWORKS, Network
from trainer.settings import AugmentationSettings, TrainingSettings
from trainer.statistics import renew_statistics

SHAPE, PADDING = slice_shape(GRID.shape, "axial"), canvas(GRID.shape, "axial")
SETTINGS = TrainingSettings(
    network="small", batch_size=4, epochs=3, patience=3, batch_norm_momentum=0.8, seed=5
)


@pytest.fixture(autouse=True)
def _small_network(monkeypatch):
    def small(height: int, width: int, batch_norm_momentum: float) -> keras.Model:
        image = keras.Input((height, width, 1))
        x = keras.layers.Conv2D(4, 3, padding="same")(keras.layers.Rescaling(1 / 255)(image))
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=batch_norm_momentum)(x))
        return keras.Model(image, keras.layers.Conv2D(1, 1, activation="sigmoid")(x))

    monkeypatch.setitem(NETWORKS, "small", Network(small))
    yield
    keras.config.set_dtype_policy("float32")  # a training sets it for the whole process


def feed(examples, folds, settings):
    return fit.Feed(input.read_index(examples, folds), settings, "axial", SHAPE, PADDING)


def train(examples, folder, **changes):
    settings = TrainingSettings(**{**vars(SETTINGS), **changes})
    model = fit.build(settings, SHAPE, PADDING)
    training, validation = feed(examples, [2, 3], settings), feed(examples, [1], settings)
    state = fit.fit(model, training, validation, folder, "made up")
    return [v.numpy() for v in model.variables], state


def without_times(history):
    return [{k: v for k, v in row.items() if k not in ("seconds", "slices_per_second")} for row in history]


def assert_equal(one, other):
    for a, b in zip(one[0], other[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert without_times(one[1].history) == without_times(other[1].history)


AUGMENTED = {"augmentation": AugmentationSettings(flip=True, shift=0.1, rotation=15.0, zoom=0.1, gamma=0.3)}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"batch_norm_slices": 40},
        AUGMENTED,
        {"optimizer": "sgd", "momentum": 0.9, "schedule": "cosine", "decay_steps": 20},
        {"schedule": "plateau", "plateau_epochs": 1, "decay_rate": 0.5},
        {"precision": "mixed_float16"},  # Keras puts an optimizer of its own around ours
    ],
    ids=["defaults", "statistics", "augmented", "cosine", "plateau", "float16"],
)
def test_an_interrupted_training_ends_bit_identical(examples, tmp_path, changes):
    whole = train(examples, tmp_path / "whole", **changes)
    train(examples, tmp_path / "parts", epochs=2, **changes)
    assert_equal(whole, train(examples, tmp_path / "parts", **changes))


def test_renewed_statistics_are_the_mean_over_the_batches_and_nothing_else_changes():
    image = keras.Input((4, 4, 2))
    model = keras.Model(image, keras.layers.BatchNormalization(momentum=0.9)(image))
    rng = np.random.default_rng(0)
    batches = [(rng.normal(5.0, 3.0, (6, 4, 4, 2)).astype(np.float32), None) for _ in range(3)]
    layer = model.layers[-1]
    kept = [v.numpy() for v in layer.trainable_variables]
    renew_statistics(model, batches)
    means = np.mean([x.mean(axis=(0, 1, 2)) for x, _ in batches], axis=0)
    variances = np.mean([x.var(axis=(0, 1, 2)) for x, _ in batches], axis=0)
    np.testing.assert_allclose(layer.moving_mean.numpy(), means, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), variances, rtol=1e-5)
    assert layer.momentum == 0.9
    for before, variable in zip(kept, layer.trainable_variables, strict=True):
        np.testing.assert_array_equal(before, variable.numpy())


def test_statistics_are_renewed_after_every_epoch(examples, tmp_path):
    plain, _ = train(examples, tmp_path / "plain", epochs=1)
    renewed, _ = train(examples, tmp_path / "renewed", epochs=1, batch_norm_slices=40)
    names = [v.path for v in fit.build(SETTINGS, SHAPE, PADDING).variables]
    same = {n: np.array_equal(a, b) for n, a, b in zip(names, plain, renewed, strict=True)}
    moving = {name for name in names if "moving" in name}
    assert moving
    assert {name for name, equal in same.items() if not equal} == moving


def test_every_epoch_has_batches_of_its_own_and_validation_always_the_same(examples, tmp_path, monkeypatch):
    drawn, plan = [], input.plan

    def noted(*arguments):
        drawn.append(plan(*arguments))
        return drawn[-1]

    monkeypatch.setattr(input, "plan", noted)
    train(examples, tmp_path, epochs=3)
    validation, *epochs = [np.concatenate(batches).tolist() for batches in drawn]
    assert len(epochs) == 3
    assert len({tuple(rows) for rows in epochs}) == 3
    drawn.clear()
    train(examples, tmp_path, epochs=4)  # goes on
    again, following = [np.concatenate(batches).tolist() for batches in drawn]
    assert again == validation
    assert following not in epochs


@pytest.mark.parametrize("asked", [16, 24])
def test_statistics_are_of_as_many_slices_as_asked_for(examples, tmp_path, monkeypatch, asked):
    seen = []

    def counted(model, batches):
        seen.append(sum(len(image) for image, _ in batches))

    monkeypatch.setattr(steps, "renew_statistics", counted)
    train(examples, tmp_path, epochs=2, batch_norm_slices=asked)
    assert seen == [asked, asked]


def test_compiled_by_xla_it_trains_the_same(examples, tmp_path):
    weights, state = train(examples, tmp_path / "xla", epochs=2, jit_compile=True, optimizer="sgd")
    plain, other = train(examples, tmp_path / "plain", epochs=2, optimizer="sgd")
    for compiled, expected in zip(weights, plain, strict=True):
        np.testing.assert_allclose(compiled, expected, rtol=1e-3, atol=1e-4)
    losses = [[row["loss"] for row in each.history] for each in (state, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert fit.build(TrainingSettings(**{**vars(SETTINGS), "jit_compile": True}), SHAPE, PADDING).jit_compile


def test_a_finished_training_trains_no_further(examples, tmp_path):
    first = train(examples, tmp_path)
    before = (tmp_path / "last.npz").stat().st_mtime_ns
    assert_equal(first, train(examples, tmp_path))
    assert (tmp_path / "last.npz").stat().st_mtime_ns == before


def test_the_best_epoch_is_kept_and_patience_ends(examples, tmp_path):
    # A learning rate this high ruins the network after a while, so the best epoch is not the last.
    weights, state = train(examples, tmp_path, epochs=30, patience=2, learning_rate=2.0)
    losses = [row["val_loss"] for row in state.history]
    assert state.best_epoch == int(np.argmin(losses)) + 1
    assert state.epoch == state.best_epoch + 2 < 30
    again, _ = train(examples, tmp_path / "short", epochs=state.best_epoch, patience=2, learning_rate=2.0)
    for a, b in zip(weights, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_history_is_a_table_of_every_epoch(examples, tmp_path):
    _, state = train(examples, tmp_path)
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    assert {
        "loss",
        "dice",
        "recall",
        "precision",
        "val_loss",
        "val_dice",
        "val_recall",
        "val_precision",
        "learning_rate",
        "seconds",
        "slices_per_second",
    } <= set(rows[0])
    assert float(rows[2]["val_loss"]) == state.history[2]["val_loss"]


def test_training_learns(examples, tmp_path):
    _, state = train(examples, tmp_path, epochs=20, patience=20, learning_rate=0.05)
    assert state.history[-1]["loss"] < 0.8 * state.history[0]["loss"]


def test_augmentation_changes_the_training_and_not_the_validation(examples, tmp_path):
    plain, _ = train(examples, tmp_path / "plain", epochs=1)
    augmented, _ = train(examples, tmp_path / "augmented", epochs=1, **AUGMENTED)
    assert any(not np.array_equal(a, b) for a, b in zip(plain, augmented, strict=True))
    # Where nothing is learned and the statistics are renewed, both are judged alike.
    still = {"epochs": 1, "learning_rate": 1e-12, "batch_norm_slices": 40}
    _, plain = train(examples, tmp_path / "still", **still)
    _, augmented = train(examples, tmp_path / "still augmented", **still, **AUGMENTED)
    assert augmented.history[0]["val_loss"] == pytest.approx(plain.history[0]["val_loss"], rel=1e-5)
    assert augmented.history[0]["loss"] != pytest.approx(plain.history[0]["loss"], rel=1e-3)


def test_a_loss_that_is_no_number_names_the_slices_and_keeps_the_last_checkpoint(
    examples, tmp_path, monkeypatch
):
    index = input.read_index(examples, [2, 3])
    sizes = index.rows["lesion_voxels"]
    (row,) = (r for r in np.flatnonzero(sizes == sizes.max())[:1])
    assert (sizes == sizes[row]).sum() == 1
    subject, number = index.subjects[index.shard[row]], index.rows["slice"][row]
    train(examples, tmp_path, epochs=1, batch_size=2)
    before = (tmp_path / "last.npz").read_bytes()

    def broken(truth, probability, over=losses.BATCH):
        size = keras.ops.sum(truth)
        return keras.ops.where(size == float(sizes[row]), np.nan, losses.dice(truth, probability))

    monkeypatch.setitem(losses.LOSSES, "focal_tversky", broken)
    with pytest.raises(WorkError) as error:
        train(examples, tmp_path, epochs=2, batch_size=2)
    said = str(error.value)
    assert "the loss is no number at batch" in said
    assert "of epoch 2" in said
    assert f"{subject} slices " in said
    assert str(number) in said.split("of epoch 2, of ")[1]
    assert len(re.findall("sub-", said)) <= 2  # one slice with lesion and one without
    assert "the checkpoint of epoch 1 is kept" in said
    assert (tmp_path / "last.npz").read_bytes() == before


def test_tensorboard_has_every_epoch_and_some_slices(examples, tmp_path):
    plain = train(examples, tmp_path / "plain", epochs=2)
    assert not (tmp_path / "plain/tensorboard").exists()
    assert_equal(plain, train(examples, tmp_path / "shown", epochs=2, tensorboard=True))
    (file,) = (tmp_path / "shown/tensorboard").iterdir()
    scalars, images = {}, []
    for event in tf.compat.v1.train.summary_iterator(str(file)):
        for value in event.summary.value:
            content = tf.make_ndarray(value.tensor)
            if content.ndim == 0:
                scalars[event.step, value.tag] = float(content)
            else:
                images.append((event.step, *(tf.io.decode_png(png).numpy() for png in content[2:])))
    for row in plain[1].history:
        assert scalars[row["epoch"], "val_loss"] == pytest.approx(row["val_loss"])
        assert scalars[row["epoch"], "dice"] == pytest.approx(row["dice"])
    assert [step for step, *_ in images] == [1, 2]
    rows, columns = PADDING.padded(*SHAPE)
    for panel in images[0][1:]:
        assert panel.shape == (rows, 3 * columns, 1)
        assert set(np.unique(panel[:, columns : 2 * columns])) == {0, 255}  # a lesion's mask in the middle


def test_one_writer(examples, tmp_path):
    with filelock.FileLock(tmp_path / "lock"), pytest.raises(WorkError, match="another process trains here"):
        train(examples, tmp_path)


def test_another_networks_checkpoint_is_refused(examples, tmp_path):
    train(examples, tmp_path, epochs=1)
    with pytest.raises(
        WorkError, match=r"last\.npz: a checkpoint of small, and raxnet \(encoder_units=1\) is to be"
    ):
        train(examples, tmp_path, network="raxnet", network_options={"encoder_units": 1})


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from lesions.slices import canvas, slice_shape
from trainer import fit, input
from trainer.settings import TrainingSettings
settings = TrainingSettings(
    batch_size=4, epochs={epochs}, patience=9, batch_norm_momentum=0.8, seed=5, network_options={options}
)
shape, padding = slice_shape({grid}, "axial"), canvas({grid}, "axial")
model = fit.build(settings, shape, padding)
examples = Path({examples!r})
training, validation = (
    fit.Feed(input.read_index(examples, folds), settings, "axial", shape, padding) for folds in ([2, 3], [1])
)
fit.fit(model, training, validation, Path({folder!r}), "killed")
"""


@pytest.mark.slow
def test_sigkill_in_the_middle_of_an_epoch_costs_that_epoch_only(examples, tmp_path):
    root = str(input.__file__).rsplit("/trainer/", 1)[0]

    def start(folder):
        given = {"epochs": 3, "options": SMALLEST, "grid": GRID.shape}
        code = KILLED.format(root=root, examples=str(examples), folder=str(folder), **given)
        return subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": root})

    process = start(tmp_path / "killed")
    until = time.monotonic() + 300
    while not (tmp_path / "killed" / "last.npz").exists():
        assert process.poll() is None, "ended before the first epoch was over"
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = (
        sum(1 for _ in (tmp_path / "killed" / "history.csv").open()) - 1
        if (tmp_path / "killed" / "history.csv").exists()
        else 0
    )
    assert done < 3
    assert start(tmp_path / "killed").wait() == 0
    assert start(tmp_path / "whole").wait() == 0
    with np.load(tmp_path / "killed/last.npz") as one, np.load(tmp_path / "whole/last.npz") as other:
        for name in one.files:
            if name != "state":
                np.testing.assert_array_equal(one[name], other[name])
