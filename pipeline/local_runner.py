"""Runs the DAG on this machine, and does not take a node's silence for success."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import filelock

from lesions import dataset as data_set
from lesions.errors import InputError, WorkError
from lesions.files import write_text
from lesions.metadata import find_sheet, read_sheet
from lesions.progress import LOGGER
from pipeline import console, device
from pipeline.config import Config
from pipeline.digests import SCHEMA

log = logging.getLogger(LOGGER)
EXECUTED, CACHED = "executed", "cached"


@dataclass(frozen=True)
class Run:
    """What a run did.

    Attributes:
        nodes: Node -> executed or cached.
        seconds: It took.
        report: The HTML page.
        log: The log file.
    """

    nodes: dict[str, str]
    seconds: float
    report: Path
    log: Path

    @property
    def executed(self) -> list[str]:
        """Nodes that did something."""
        return [node for node, state in self.nodes.items() if state == EXECUTED]


def run(config: Config) -> Run:
    """Runs what is not yet done.

    Args:
        config: Of the run.

    Returns:
        What was done.

    Raises:
        InputError: The data or the root cannot be used, or another run holds the root.
        WorkError: A node failed or did not run.
    """
    dataset = _usable(config)
    root = writable(config.root)
    try:
        with filelock.FileLock(root / "run.lock").acquire(timeout=0):
            log_file = root / "logs" / f"run-{datetime.now():%Y%m%dT%H%M%S}.log"
            with console.logged(log_file):
                return _run(config, data_set.digest(dataset), log_file)
    except filelock.Timeout:
        raise InputError(f"{root}: another run holds this root; wait for it, or set another root") from None


def newest(root: Path, artifact: str, name: str) -> Path:
    """A file of the latest artifact of a kind, such as "FoldGen/fold_map", in a root that has run."""
    return max((root / "artifacts" / artifact).glob(f"*/{name}"), key=lambda path: int(path.parent.name))


def _usable(config: Config) -> data_set.Dataset:
    """Finds what cannot work before anything is written."""
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
    return dataset


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


def _run(config: Config, data_digest: str, log_file: Path) -> Run:
    start = time.monotonic()
    log.info("device: %s", device.choose(config.device))
    log.info("log: %s", log_file)
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner

    from pipeline.pipeline import create_pipeline

    pipeline = create_pipeline(config, data_digest, str(_schema(config.root)), *_metadata(config))
    names = [node.id for node in pipeline.components]
    lines = _NodeLines(len(names))
    absl = logging.getLogger("absl")
    absl.addHandler(lines)
    try:
        LocalDagRunner().run(pipeline)
    except Exception as error:
        raise _ours(error, lines.node, log_file) from error
    finally:
        absl.removeHandler(lines)
    nodes = _states(config.root / "metadata.db", names)
    report = _publish_report(config)
    done = Run(nodes, time.monotonic() - start, report, log_file)
    cached = len(nodes) - len(done.executed)
    log.info(
        "%d of %d steps done, %d were done before; %.0f s",
        len(done.executed),
        len(nodes),
        cached,
        done.seconds,
    )
    return done


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
    """Says which node runs, from what TFX logs of it."""

    def __init__(self, total: int):
        super().__init__()
        self.total, self.begun, self.node = total, 0, ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "Component %s is running.":
            self.begun += 1
            self.node = str(record.args[0])  # type: ignore[index]
            log.info("[%2d/%d] %s", self.begun, self.total, self.node)


def _ours(error: BaseException, node: str, log_file: Path) -> Exception:
    """The error of ours inside one of TFX's or Beam's, or one that says where to look."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, InputError | WorkError):
            return type(seen)(f"{node}: {_first_line(seen)}")
        seen = seen.__cause__ or seen.__context__
    return WorkError(f"{node}: {type(error).__name__}: {_first_line(error)}; see {log_file}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]


def _states(database: Path, names: list[str]) -> dict[str, str]:
    """Executed or cached, for every node of the newest run.

    LocalDagRunner can return normally with a failed node, and a skipped one leaves no execution (tfx_stack.md, 2).
    """
    from ml_metadata.metadata_store import metadata_store
    from ml_metadata.proto import metadata_store_pb2 as pb

    connection = pb.ConnectionConfig()
    connection.sqlite.filename_uri = str(database)
    connection.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READONLY
    store = metadata_store.MetadataStore(connection)
    newest = max(store.get_contexts_by_type("pipeline_run"), key=lambda context: context.id)
    states = {}
    for execution in sorted(store.get_executions_by_context(newest.id), key=lambda execution: execution.id):
        nodes = [c.name for c in store.get_contexts_by_execution(execution.id) if c.type == "node"]
        node = nodes[0].split(".", 1)[1]
        states[node] = pb.Execution.State.Name(execution.last_known_state)
    words = {"COMPLETE": EXECUTED, "CACHED": CACHED}
    failed = {node: states.get(node, "NOT RUN") for node in names if states.get(node) not in words}
    if failed:
        raise WorkError(
            "did not succeed: " + ", ".join(f"{node} ({state})" for node, state in failed.items())
        )
    return {node: words[states[node]] for node in names}


def _publish_report(config: Config) -> Path:
    """Copies the newest report to where a person looks for it."""
    written = (config.root / "artifacts" / "ReportGen" / "report").glob("*/report.html")
    newest = max(written, key=lambda path: int(path.parent.name))
    target = config.root / "report.html"
    write_text(target, newest.read_text(encoding="utf-8"))
    return target
