"""Runs the DAG on this machine, and does not take a node's silence for success."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import filelock

from lesions import dataset as data_set
from lesions.errors import InputError, WorkError
from lesions.files import write_text
from lesions.metadata import find_sheet, read_sheet
from lesions.parallel import WORKERS
from lesions.progress import LOGGER
from pipeline import beam, console, device, executions, root_stack, trainings
from pipeline.config import BEAM_LOCAL, COMPARE, DATABASE, Config
from pipeline.digests import SCHEMA
from pipeline.executions import EXECUTED
from trainer.settings import TrainingSettings

log = logging.getLogger(LOGGER)


@dataclass(frozen=True)
class Run:
    """What a run did.

    Attributes:
        nodes: Node -> executed or cached.
        seconds: It took.
        report: The HTML page; None where it was not asked for.
        log: The log file.
    """

    nodes: dict[str, str]
    seconds: float
    report: Path | None
    log: Path

    @property
    def executed(self) -> list[str]:
        """Nodes that did something."""
        return [node for node, state in self.nodes.items() if state == EXECUTED]


def run(config: Config, prepare: bool = False) -> Run:
    """Runs what is not yet done.

    Args:
        config: Of the run.
        prepare: Stop when the records are made and checked, before any training.

    Returns:
        What was done.

    Raises:
        InputError: The data or the root cannot be used, another run holds the root, or it is another stack's.
        WorkError: A node failed or did not run. A failed training is told when all others, and what depends on
            them alone, are done.
    """
    dataset = usable(config)
    root = writable(config.root)
    with held(root):
        root_stack.claim(root)
        log_file = root / "logs" / f"run-{datetime.now():%Y%m%dT%H%M%S}.log"
        with console.logged(log_file):
            return _run(config, data_set.digest(dataset), log_file, prepare)


@contextmanager
def held(root: Path) -> Iterator[None]:
    """Keeps other runs from a root meanwhile. Raises InputError where one holds it already."""
    try:
        with filelock.FileLock(root / "run.lock").acquire(timeout=0):
            yield
    except filelock.Timeout:
        raise InputError(f"{root}: another run holds this root; wait for it, or set another root") from None


def newest(root: Path, artifact: str, name: str) -> Path:
    """A file of the latest artifact of a kind, such as "FoldGen/fold_map", in a root that has run."""
    return max((root / "artifacts" / artifact).glob(f"*/{name}"), key=lambda path: int(path.parent.name))


def usable(config: Config) -> data_set.Dataset:
    """The data set of a run, as it lies there; finds what cannot work before anything is written.

    Raises:
        InputError: See `run`.
    """
    dataset = data_set.discover(config.data)
    if config.metadata is not None:
        read_sheet(config.metadata)
    subjects = len({scan.subject for scan in dataset.scans if scan.mask is not None})
    held_out = max(1, round(config.split.holdout * subjects))
    if subjects - held_out < config.split.folds:
        raise InputError(
            f"{config.data}: {subjects} subjects with a mask are too few for a hold-out of {held_out} and "
            f"{config.split.folds} folds; add subjects or lower split.folds"
        )
    check_names(config.training)
    beam.require_reachable(config.beam)
    return dataset


def check_names(settings: TrainingSettings) -> None:
    """Network, options and loss must be such as there are; Keras, which knows them, is imported only now.

    Raises:
        InputError: They are not; says which there are.
    """
    from trainer import losses, networks

    try:
        networks.get(settings.network, settings.network_options)
        losses.get(settings.loss)
    except ValueError as error:
        raise InputError(f"training.{error}") from None


def writable(folder: Path) -> Path:
    """Makes a folder and makes sure that it can be written.

    Raises:
        InputError: It cannot.
    """
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None
    return folder


def _run(config: Config, data_digest: str, log_file: Path, prepare: bool) -> Run:
    from trainer import replicas

    start = time.monotonic()
    log.info("device: %s", device.choose(config.device))
    replicas.devices(config.training.replicas)
    log.info("log: %s", log_file)
    os.environ[WORKERS] = str(config.processes)
    from components.beam_arguments import set_arguments
    from pipeline import cross_validation
    from pipeline.pipeline import GATE, create_pipeline, trainer_id
    from reports.comparisons import comparisons_digest

    set_arguments(config.beam or BEAM_LOCAL)
    pipeline = create_pipeline(
        replace(config, beam=()),  # of the cache's keys it would be part
        data_digest,
        str(_schema(config.root)),
        *_metadata(config),
        comparisons_digest(config.root / COMPARE),
    )
    names = [node.id for node in pipeline.components]
    lines = _NodeLines(len(names), log_file)
    # In two calls: the trainings run in between, and one that fails is left out of the second.
    # TFX's cache makes a second pass over nodes free.
    first = names[: names.index(GATE) + 1]
    nodes = lines.run(pipeline, first, config.root)
    (ingested,) = executions.outputs(config.root / DATABASE, ["NiftiExampleGen"]).values()
    examples = {key.removeprefix("examples_"): folder for key, folder in ingested.items()}
    trainings.record_prepared(config, data_digest, examples)
    report = None
    if not prepare:
        failed = trainings.train_all(trainings.of(config, examples), config.parallel_trainings, config.device)
        trainers = [trainer_id(one.plane, one.fold) for one, _ in failed]
        rest = lines.run(pipeline, _without(pipeline, trainers), config.root)
        log.info("cross-validation: %s", cross_validation.write(config, failed))
        if failed:
            raise WorkError(trainings.told(failed))
        nodes = rest | {n: s for n, s in nodes.items() if s == EXECUTED}
        report = _publish_report(config)
    done = Run(
        {name: nodes[name] for name in names if name in nodes}, time.monotonic() - start, report, log_file
    )
    cached = len(done.nodes) - len(done.executed)
    log.info(
        "%d of %d steps done, %d were done before; %.0f s",
        len(done.executed),
        len(done.nodes),
        cached,
        done.seconds,
    )
    return done


def _without(pipeline: Any, nodes: Sequence[str]) -> list[str]:
    """Names of the pipeline's nodes without some and all that depend on them, in the pipeline's order."""
    lost: set[str] = set()
    todo = [node for node in pipeline.components if node.id in nodes]
    while todo:
        node = todo.pop()
        lost.add(node.id)
        todo += [other for other in node.downstream_nodes if other.id not in lost]
    return [node.id for node in pipeline.components if node.id not in lost]


def _metadata(config: Config) -> tuple[str, str]:
    """The metadata sheet's path and the digest of its content; empty texts where there is none."""
    sheet = find_sheet(config.data, config.metadata)
    if sheet is None:
        return "", ""
    return str(sheet.path), hashlib.sha256(sheet.path.read_bytes()).hexdigest()[:16]


def _schema(root: Path) -> Path:
    """A copy of the schema under its own digest: TFX's cache sees the path, not the content."""
    content = SCHEMA.read_bytes()
    path = root / "schema" / hashlib.sha256(content).hexdigest()[:16] / SCHEMA.name
    if not path.exists():
        write_text(path, content.decode())
    return path


class _NodeLines(logging.Handler):
    """Runs nodes of a pipeline and says which one runs, from what TFX logs of it."""

    def __init__(self, total: int, log_file: Path):
        super().__init__()
        self.total, self.log_file = total, log_file
        self.begun: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "Component %s is running.":
            node = str(record.args[0])  # type: ignore[index]
            if node in self.begun:
                return
            self.begun.append(node)
            log.info("[%2d/%d] %s", len(self.begun), self.total, node)

    def run(self, pipeline: Any, nodes: list[str], root: Path) -> dict[str, str]:
        """Runs the pipeline up to the last of `nodes`; returns executed or cached for each."""
        from tfx.orchestration.local.local_dag_runner import LocalDagRunner
        from tfx.orchestration.pipeline import RunOptions

        absl = logging.getLogger("absl")
        absl.addHandler(self)
        try:
            LocalDagRunner().run(pipeline, run_options=RunOptions(to_nodes=nodes))
        except Exception as error:
            raise _ours(error, self.begun[-1] if self.begun else "", self.log_file) from error
        finally:
            absl.removeHandler(self)
        return executions.states(root / DATABASE, nodes)


def _ours(error: BaseException, node: str, log_file: Path) -> Exception:
    """The error of ours inside one of TFX's or Beam's, or one that says where to look."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, InputError | WorkError):
            return type(seen)(f"{node}: {_first_line(seen)}")
        if told := beam.told(seen):
            return WorkError(f"{node}: {told}; see {log_file}")
        seen = seen.__cause__ or seen.__context__
    return WorkError(f"{node}: {type(error).__name__}: {_first_line(error)}; see {log_file}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]


def _publish_report(config: Config) -> Path:
    """Copies the newest report to where a person looks for it."""
    written = (config.root / "artifacts" / "ReportGen" / "report").glob("*/report.html")
    newest = max(written, key=lambda path: int(path.parent.name))
    target = config.root / "report.html"
    write_text(target, newest.read_text(encoding="utf-8"))
    return target
