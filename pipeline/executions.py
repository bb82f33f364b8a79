"""What TFX's metadata says of the newest run: which nodes did something, and where their outputs lie.

LocalDagRunner can return normally with a failed node, and a skipped one leaves no execution
(docs/spec/tfx_stack.md#runs-that-fail-without-an-error): so a run is judged by what is recorded, not by the
silence of the runner.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesions.errors import InputError, WorkError
from pipeline.config import DATABASE

LAST = "ReportGen"  # the node that ends a run
EXECUTED, CACHED = "executed", "cached"
_WORDS = {"COMPLETE": EXECUTED, "CACHED": CACHED}


def database_of(root: Path) -> Path:
    """The metadata of a root's runs. Raises InputError where there are none."""
    database = root / DATABASE
    if not database.is_file():
        raise InputError(f"{root}: no run here ({DATABASE} is missing); name the root of a run")
    return database


def states(database: Path, nodes: Iterable[str]) -> dict[str, str]:
    """Executed or cached, for every node that the newest run should have had.

    Args:
        database: SQLite file of ML Metadata.
        nodes: Names of the nodes.

    Raises:
        WorkError: A node failed or left no execution; names all of them.
    """
    found = {}
    with _newest_run(database) as (store, executions):
        for execution in executions:
            found[_node(store, execution)] = _state(execution)
    failed = {node: found.get(node, "NOT RUN") for node in nodes if found.get(node) not in _WORDS}
    if failed:
        raise WorkError(
            "did not succeed: " + ", ".join(f"{node} ({state})" for node, state in failed.items())
        )
    return {node: _WORDS[found[node]] for node in nodes}


@dataclass(frozen=True)
class Node:
    """What a node of a run left.

    Attributes:
        outputs: Output name -> folder of its one artifact.
        parameters: The component's parameters, those that are texts.
    """

    outputs: dict[str, Path]
    parameters: dict[str, str]


def outputs(database: Path, nodes: Iterable[str]) -> dict[str, dict[str, Path]]:
    """Node -> output name -> folder of its artifact in the newest run.

    Args:
        database: SQLite file of ML Metadata.
        nodes: Names of nodes with one artifact per output.
    """
    found: dict[str, dict[str, Path]] = {node: {} for node in nodes}
    with _newest_run(database) as (store, executions):
        for execution in executions:
            if (node := _node(store, execution)) in found:
                found[node].update(_outputs(store, execution))
    return found


def finished(database: Path) -> dict[str, Node]:
    """The nodes of the newest run that came to its end.

    Args:
        database: SQLite file of ML Metadata.

    Returns:
        Name -> node; empty where no run came to its end.

    Raises:
        InputError: The file is no such database.
    """
    with _newest_run(database, LAST) as (store, executions):
        return {
            _node(store, execution): Node(dict(_outputs(store, execution)), _parameters(execution))
            for execution in executions
            if _state(execution) in _WORDS
        }


@dataclass(frozen=True)
class Kept:
    """The newest complete runs, and all that was begun since the oldest of them.

    Attributes:
        first: Number of the oldest one's first execution; executions and their folders are numbered upward.
        began: When that was, in seconds since 1970.
        artifacts: What they read and wrote, as `tail` has it.
    """

    first: int
    began: float
    artifacts: frozenset[tuple[str, ...]]


def tail(folder: Path) -> tuple[str, ...]:
    """Node, output and number of an artifact's folder: the same wherever its root is moved."""
    return folder.parts[-3:]


def kept(database: Path, count: int) -> Kept | None:
    """The newest complete runs; those that ended in the same artifact, as where nothing had changed, are one.

    Args:
        database: SQLite file of ML Metadata.
        count: So many, 1 or more.

    Returns:
        None where there are not so many.

    Raises:
        InputError: The file is no such database.
    """
    with _opened(database) as store:
        runs, ends = [], set()
        for executions in _runs(store):
            runs.append(executions)
            ended = [e for e in executions if _succeeded(store, e, LAST)]
            ends |= {tail(folder) for e in ended for _, folder in _outputs(store, e)}
            if ended and len(ends) == count:
                break
        else:
            return None
        numbers = [execution.id for executions in runs for execution in executions]
        ids = {event.artifact_id for event in store.get_events_by_execution_ids(numbers)}
        artifacts = frozenset(tail(Path(artifact.uri)) for artifact in store.get_artifacts_by_id(list(ids)))
        oldest = runs[-1][0]
        return Kept(oldest.id, oldest.create_time_since_epoch / 1000, artifacts)


def forget(database: Path, folders: Iterable[Path]) -> None:
    """Marks the artifacts of some folders as deleted.

    Args:
        database: SQLite file of ML Metadata.
        folders: Of artifacts.
    """
    from ml_metadata.proto import metadata_store_pb2 as pb

    gone = {tail(folder) for folder in folders}
    with _opened(database, write=True) as store:
        found = [artifact for artifact in store.get_artifacts() if tail(Path(artifact.uri)) in gone]
        for artifact in found:
            artifact.state = pb.Artifact.DELETED
        store.put_artifacts(found)


@contextmanager
def _newest_run(database: Path, last: str = "") -> Iterator[tuple[Any, list[Any]]]:
    """The store, and the executions of the newest run in the order in which they began.

    Args:
        database: SQLite file of ML Metadata.
        last: Of the newest run in which this node succeeded; without one there are no executions.
    """
    with _opened(database) as store:
        for executions in _runs(store):
            if not last or any(_succeeded(store, e, last) for e in executions):
                yield store, executions
                return
        yield store, []


@contextmanager
def _opened(database: Path, write: bool = False) -> Iterator[Any]:
    """The store. Raises InputError where the file is no such database."""
    from ml_metadata.errors import StatusError
    from ml_metadata.metadata_store import metadata_store
    from ml_metadata.proto import metadata_store_pb2 as pb

    connection = pb.ConnectionConfig()
    connection.sqlite.filename_uri = str(database)
    modes = pb.SqliteMetadataSourceConfig
    connection.sqlite.connection_mode = modes.READWRITE if write else modes.READONLY
    try:
        yield metadata_store.MetadataStore(connection)
    except (StatusError, RuntimeError) as error:
        reason = str(error).split(" query:")[0]  # else all of an SQL statement
        raise InputError(
            f"{database}: not readable as metadata of a run ({reason}); name the root of a run"
        ) from None


def _runs(store: Any) -> Iterator[list[Any]]:
    """The executions of each run in the order in which they began; the newest run first."""
    for run in sorted(store.get_contexts_by_type("pipeline_run"), key=lambda context: -context.id):
        yield sorted(store.get_executions_by_context(run.id), key=lambda execution: execution.id)


def _outputs(store: Any, execution: Any) -> Iterator[tuple[str, Path]]:
    from ml_metadata.proto import metadata_store_pb2 as pb

    for event in store.get_events_by_execution_ids([execution.id]):
        if event.type == pb.Event.OUTPUT:
            (artifact,) = store.get_artifacts_by_id([event.artifact_id])
            yield event.path.steps[0].key, Path(artifact.uri)


def _parameters(execution: Any) -> dict[str, str]:
    return {
        name: value.string_value for name, value in execution.custom_properties.items() if value.string_value
    }


def _node(store: Any, execution: Any) -> str:
    (name,) = [c.name for c in store.get_contexts_by_execution(execution.id) if c.type == "node"]
    return str(name).split(".", 1)[1]


def _succeeded(store: Any, execution: Any, node: str) -> bool:
    return _node(store, execution) == node and _state(execution) in _WORDS


def _state(execution: Any) -> str:
    from ml_metadata.proto import metadata_store_pb2 as pb

    return str(pb.Execution.State.Name(execution.last_known_state))
