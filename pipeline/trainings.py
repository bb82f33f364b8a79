"""Trainings outside the DAG: side by side on this machine, or one by one on any that sees the root.

A training leaves its checkpoints under the run's root; the DAG's Trainer finds them finished and only exports.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from logging.handlers import QueueHandler, QueueListener
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesions.errors import InputError, WorkError
from lesions.files import write_text
from lesions.progress import LOGGER, to_log
from pipeline import device
from pipeline.config import Config
from pipeline.digests import code_digest

if TYPE_CHECKING:
    from trainer.job import Training

log = logging.getLogger(LOGGER)
PREPARED = "prepared.json"


def record_prepared(config: Config, data_digest: str, examples: dict[str, Path]) -> None:
    """Notes where the records of this configuration lie, for `raxnet train` on other machines.

    Args:
        config: Of the run.
        data_digest: Of the data set.
        examples: Folder of the Examples artifact of each plane.
    """
    content = {"key": _key(config, data_digest), "examples": {p: str(f) for p, f in examples.items()}}
    write_text(config.root / PREPARED, json.dumps(content, indent=2) + "\n")


def prepared(config: Config, data_digest: str) -> dict[str, Path]:
    """Plane -> folder of its Examples artifact, as the last run left them.

    Raises:
        InputError: No run of this configuration and this data set has come so far.
    """
    path = config.root / PREPARED
    remedy = "`raxnet run CONFIG --prepare` makes them"
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        raise InputError(f"{path}: no records of this data set yet; {remedy}") from None
    if content["key"] != _key(config, data_digest):
        raise InputError(f"{path}: records of other data, another split or another version; {remedy}")
    return {plane: Path(folder) for plane, folder in content["examples"].items()}


def _key(config: Config, data_digest: str) -> str:
    code = code_digest("DatasetValidator", "LesionStatisticsGen", "FoldGen", "NiftiExampleGen")
    return json.dumps([data_digest, config.strict, asdict(config.split), code])


def training(config: Config, examples: Path, plane: str, fold: int) -> Training:
    """The training of a plane and validation fold, as the DAG's Trainer does it."""
    from trainer.job import Training

    return Training(
        examples=examples,
        plane=plane,
        fold=fold,
        training_folds=tuple(k for k in range(1, config.split.folds + 1) if k != fold),
        settings=config.training,
        checkpoints=config.root / "checkpoints",
        code=code_digest("Trainer"),
    )


def train_side_by_side(config: Config, examples: dict[str, Path]) -> None:
    """Trains whatever is not trained yet, `parallel_trainings` at a time, each in a process of its own.

    Each process gets an equal share of the processors, the same for the first training and for the last:
    sums in floating point depend on it, and an interrupted run must end like one that was not.

    Args:
        config: Of the run.
        examples: Folder of the Examples artifact of each plane.

    Raises:
        WorkError: Some failed; the others were brought to their end first.
    """
    every = [
        training(config, examples[plane], plane, k) for plane in config.planes for k in config.train_folds
    ]
    waiting = [one for one in every if not one.finished]
    if not waiting:
        return
    at_once = config.parallel_trainings
    threads = max(1, (os.cpu_count() or 1) // at_once)
    log.info(
        "%d trainings, %d at a time, %d processor threads each",
        len(waiting),
        min(at_once, len(waiting)),
        threads,
    )
    failed = _run(waiting, at_once, threads, config.device)
    if failed:
        raise WorkError("training failed: " + "; ".join(f"{name}: {why}" for name, why in failed.items()))


def _run(waiting: Sequence[Training], at_once: int, threads: int, device_name: str) -> dict[str, str]:
    """Name -> reason of the trainings that failed."""
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    records: Any = context.Queue()
    relay = _Relay()
    listener = QueueListener(records, relay)
    listener.start()
    running: dict[Any, Any] = {}
    todo, failed = list(waiting), {}
    try:
        while todo or running:
            while todo and len(running) < at_once:
                one = todo.pop(0)
                process = context.Process(target=_child, args=(one, device_name, records), name=one.name)
                with _threads(threads):
                    process.start()
                running[process.sentinel] = process
            for sentinel in wait(list(running)):
                process = running.pop(sentinel)
                process.join()
                if process.exitcode:
                    failed[process.name] = _died(process.exitcode)
    finally:
        for process in running.values():
            process.terminate()
            process.join()
        listener.stop()
    return {name: relay.errors.get(name, why) for name, why in failed.items()}


def _died(status: int) -> str:
    if status == -9:
        return (
            "its process was killed, most likely for want of memory; lower parallel_trainings or batch_size"
        )
    return f"its process ended with status {status}; the log says more"


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Sets, for processes started within, how many threads TensorFlow uses: it asks once, when it is imported."""
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(number)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _child(one: Training, device_name: str, records: Any) -> None:
    """A process's work: one training, its log lines sent to the parent."""
    from trainer import job

    threading.Thread(target=_end_with_parent, daemon=True).start()
    handler = QueueHandler(records)
    handler.addFilter(_named(one.name))
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
    try:
        device.choose(device_name)
        job.train(one)
    except (InputError, WorkError) as error:
        log.error("%s", error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _named(name: str) -> Callable[[logging.LogRecord], bool]:
    """A filter that passes every record, with the name of its training."""

    def mark(record: logging.LogRecord) -> bool:
        record.training = name
        return True

    return mark


def _end_with_parent() -> None:
    """A training whose run was killed would go on unseen and hold its lock."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


class _Relay(logging.Handler):
    """The processes' lines as our own; their steps become one bar, their errors are kept for the end."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: dict[str, tuple[int, int]] = {}
        self.errors: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        name = getattr(record, "training", "")
        progress = getattr(record, "progress", None)
        if record.levelno >= logging.ERROR:
            self.errors[name] = record.getMessage().removeprefix(f"{name}: ")
        elif progress is None:
            log.handle(record)
        else:
            self.steps[name] = progress
            done, total = (sum(values) for values in zip(*self.steps.values(), strict=True))
            to_log(f"training, {len(self.steps)} side by side")(done, total)
