"""What TFX's metadata says of the newest run: which nodes did something, and where their outputs lie.

LocalDagRunner can return normally with a failed node, and a skipped one leaves no execution (tfx_stack.md, 2):
so a run is judged by what is recorded, not by the silence of the runner.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesions.errors import InputError, WorkError

EXECUTED, CACHED = "executed", "cached"
_WORDS = {"COMPLETE": EXECUTED, "CACHED": CACHED}


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


def finished(database: Path, last: str) -> dict[str, Node]:
    """The nodes of the newest run that came to its end.

    Args:
        database: SQLite file of ML Metadata.
        last: The node that ends a run.

    Returns:
        Name -> node; empty where no run came to its end.

    Raises:
        InputError: The file is no such database.
    """
    from ml_metadata.errors import StatusError

    try:
        with _newest_run(database, last) as (store, executions):
            return {
                _node(store, execution): Node(dict(_outputs(store, execution)), _parameters(execution))
                for execution in executions
                if _state(execution) in _WORDS
            }
    except (StatusError, RuntimeError) as error:
        reason = str(error).split(" query:")[0]  # else all of an SQL statement
        raise InputError(
            f"{database}: not readable as metadata of a run ({reason}); name the root of a run"
        ) from None


@contextmanager
def _newest_run(database: Path, last: str = "") -> Iterator[tuple[Any, list[Any]]]:
    """The store, and the executions of the newest run in the order in which they began.

    Args:
        database: SQLite file of ML Metadata.
        last: Of the newest run in which this node succeeded; without one there are no executions.
    """
    from ml_metadata.metadata_store import metadata_store
    from ml_metadata.proto import metadata_store_pb2 as pb

    connection = pb.ConnectionConfig()
    connection.sqlite.filename_uri = str(database)
    connection.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READONLY
    store = metadata_store.MetadataStore(connection)
    runs = sorted(store.get_contexts_by_type("pipeline_run"), key=lambda context: -context.id)
    for run in runs:
        executions = sorted(store.get_executions_by_context(run.id), key=lambda execution: execution.id)
        if not last or any(_node(store, e) == last and _state(e) in _WORDS for e in executions):
            yield store, executions
            return
    yield store, []


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


def _state(execution: Any) -> str:
    from ml_metadata.proto import metadata_store_pb2 as pb

    return str(pb.Execution.State.Name(execution.last_known_state))
