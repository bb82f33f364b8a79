"""Trainings outside the DAG: their threads, their lines, and whose records they use."""

import logging
import os
from types import SimpleNamespace

import pytest

from lesions.errors import InputError
from lesions.progress import LOGGER
from lesions.settings import SplitSettings
from pipeline import trainings
from pipeline.config import Config


def config(tmp_path, **changes):
    return Config(data=tmp_path / "data", root=tmp_path, **changes)


def test_prepared_records_are_found_again_whatever_is_trained(tmp_path):
    folders = {"axial": tmp_path / "a"}
    trainings.record_prepared(config(tmp_path), "digest", folders)
    assert trainings.prepared(config(tmp_path, planes=("axial",), train_folds=(2,)), "digest") == folders


@pytest.mark.parametrize(
    ("changes", "digest"),
    [({"split": SplitSettings(seed=1)}, "digest"), ({"strict": True}, "digest"), ({}, "b")],
)
def test_records_of_other_data_or_another_split_are_refused(tmp_path, changes, digest):
    trainings.record_prepared(config(tmp_path), "digest", {"axial": tmp_path})
    with pytest.raises(InputError, match="another split"):
        trainings.prepared(config(tmp_path, **changes), digest)


def test_threads_are_set_for_children_only(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    with trainings._threads(2):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["TF_NUM_INTRAOP_THREADS"] == "2"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "TF_NUM_INTRAOP_THREADS" not in os.environ


def test_side_by_side_each_training_gets_its_share_of_the_usable_processors(monkeypatch):
    given = []
    monkeypatch.setattr(trainings.machine, "processors", lambda: 5)
    monkeypatch.setattr(trainings, "_finished", lambda one: False)
    monkeypatch.setattr(
        trainings, "_run", lambda waiting, at_once, threads, device: given.append(threads) or {}
    )
    for at_once in (1, 2, 8):
        trainings.train_all([SimpleNamespace(name="one")], at_once, "cpu")
    assert given == [None, 2, 1]


def record(training, text, level=logging.INFO, progress=None):
    made = logging.LogRecord(LOGGER, level, __file__, 1, text, None, None)
    made.training = training
    if progress:
        made.progress = progress
    return made


class Collected(logging.Handler):
    """What a person would have been shown."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def emit(self, record):
        self.shown.append((record.getMessage(), getattr(record, "progress", None)))


def test_bars_of_several_trainings_become_one_and_errors_are_kept(monkeypatch, caplog):
    relay, collected, logger = trainings._Relay(2), Collected(), logging.getLogger(LOGGER)
    monkeypatch.setattr(logger, "handlers", [collected])
    monkeypatch.setattr(logger, "propagate", False)
    with caplog.at_level(logging.INFO, LOGGER):
        relay.emit(record("a", "a, epoch 1", progress=(3, 10)))
        relay.emit(record("b", "b, epoch 1", progress=(4, 20)))
        relay.emit(record("b", "b: epoch 1/1 loss 0.5"))
        relay.emit(record("a", "a: the loss is no number", logging.ERROR))
    assert collected.shown == [
        ("training, 1 side by side", (3, 10)),
        ("training, 2 side by side", (7, 30)),
        ("b: epoch 1/1 loss 0.5", None),
    ]
    assert relay.errors == {"a": "the loss is no number"}


def test_one_at_a_time_shows_its_own_bar(monkeypatch):
    relay, collected, logger = trainings._Relay(1), Collected(), logging.getLogger(LOGGER)
    monkeypatch.setattr(logger, "handlers", [collected])
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "level", logging.INFO)
    relay.emit(record("a", "a, epoch 1", progress=(3, 10)))
    assert collected.shown == [("a, epoch 1", (3, 10))]
