"""Trainings outside the DAG: in processes of their own on this machine, or one by one on any that sees the root.

A training leaves its checkpoints under the run's root; the DAG's Trainer finds them finished and only exports.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from logging.handlers import QueueHandler, QueueListener
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import machine
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


def of(config: Config, examples: dict[str, Path]) -> list[Training]:
    """Every training of a configuration.

    Args:
        config: Of the run.
        examples: Folder of the Examples artifact of each plane.
    """
    return [
        training(config, examples[plane], plane, k) for plane in config.planes for k in config.train_folds
    ]


def train_all(every: Sequence[Training], at_once: int, device_name: str) -> list[tuple[Training, str]]:
    """Trains whatever is not trained yet, each in a process of its own: one that fails stops no other.

    Side by side, each process gets an equal share of the processors, the same for the first training and for the
    last: sums in floating point depend on it, and an interrupted run must end like one that was not.

    Args:
        every: Trainings with a name each; those that are finished are passed over.
        at_once: So many at a time; 1: one after the other, with all processors.
        device_name: auto, cpu or gpu.

    Returns:
        Those that failed, and why; the others were brought to their end.
    """
    waiting = [one for one in every if not _finished(one)]
    if not waiting:
        return []
    threads = max(1, machine.processors() // at_once) if at_once > 1 else None
    side_by_side = f", {min(at_once, len(waiting))} at a time, {threads} processor threads each"
    log.info("%d trainings%s", len(waiting), side_by_side if threads else ", one after the other")
    failed = _run(waiting, at_once, threads, device_name)
    for name, why in failed.items():
        log.warning("%s: failed: %s", name, why)
    return [(one, failed[one.name]) for one in waiting if one.name in failed]


def _finished(one: Training) -> bool:
    try:
        return one.finished
    except WorkError:  # a damaged checkpoint is that training's own failure
        return False


def told(failed: Sequence[tuple[Training, str]]) -> str:
    """Which trainings failed and why, in one line."""
    return "training failed: " + "; ".join(f"{one.name}: {why}" for one, why in failed)


def _run(waiting: Sequence[Training], at_once: int, threads: int | None, device_name: str) -> dict[str, str]:
    """Name -> reason of the trainings that failed."""
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    records: Any = context.Queue()
    relay = _Relay(at_once)
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
def _threads(number: int | None) -> Iterator[None]:
    """Sets, for processes started within, how many threads TensorFlow uses: it asks once, when it is imported.

    None leaves it to choose.
    """
    if number is None:
        yield
        return
    before = {name: os.environ.get(name) for name in machine.THREADS}
    os.environ.update(dict.fromkeys(machine.THREADS, str(number)))
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
    except Exception as error:
        traceback.print_exc()  # to the log file
        log.error("%s: %s", type(error).__name__, (str(error).strip().splitlines() or [""])[0])
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

    def __init__(self, at_once: int) -> None:
        super().__init__()
        self.at_once = at_once
        self.steps: dict[str, tuple[int, int]] = {}
        self.errors: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        name = getattr(record, "training", "")
        progress = getattr(record, "progress", None)
        if record.levelno >= logging.ERROR:
            self.errors[name] = record.getMessage().removeprefix(f"{name}: ")
        elif progress is None or self.at_once == 1:
            log.handle(record)
        else:
            self.steps[name] = progress
            done, total = (sum(values) for values in zip(*self.steps.values(), strict=True))
            to_log(f"training, {len(self.steps)} side by side")(done, total)
