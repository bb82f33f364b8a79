"""`raxnet report` where there is no finished run; with one: tests/e2e/test_pipeline.py."""

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb

from pipeline.cli.main import main


def test_a_folder_without_a_run_is_bad_input_and_nothing_is_written(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["report", str(tmp_path / "nothing"), str(out)]) == 2
    said = capsys.readouterr().err
    assert "no run here (metadata.db is missing)" in said
    assert "name the root of a run" in said
    assert not out.exists()


@pytest.fixture
def unfinished(tmp_path):
    """The metadata of a run that ended in its first node."""
    connection = pb.ConnectionConfig()
    connection.sqlite.filename_uri = str(tmp_path / "metadata.db")
    connection.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    store = metadata_store.MetadataStore(connection)
    kinds = {name: store.put_context_type(pb.ContextType(name=name)) for name in ("pipeline_run", "node")}
    names = {"pipeline_run": "now", "node": "raxnet.DatasetValidator"}
    contexts = store.put_contexts(
        [pb.Context(type_id=kinds[kind], name=name) for kind, name in names.items()]
    )
    kind = store.put_execution_type(pb.ExecutionType(name="DatasetValidator"))
    execution = pb.Execution(type_id=kind, last_known_state=pb.Execution.FAILED)
    (number,) = store.put_executions([execution])
    links = [pb.Association(context_id=context, execution_id=number) for context in contexts]
    store.put_attributions_and_associations([], links)
    return tmp_path


def test_a_run_that_did_not_come_to_its_end_is_said_to(unfinished, capsys):
    assert main(["report", str(unfinished), str(unfinished / "out")]) == 2
    said = capsys.readouterr().err
    assert "no run here came to its end" in said
    assert "raxnet run CONFIG" in said
    assert "Traceback" not in said
    assert not (unfinished / "out").exists()


def test_an_output_that_cannot_be_written_is_found_before_the_work(unfinished, capsys):
    (unfinished / "file").write_text("")
    assert main(["report", str(unfinished), str(unfinished / "file" / "out")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path, capsys):
    (tmp_path / "metadata.db").write_text("not a database, " * 400)
    assert main(["report", str(tmp_path), str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "not readable as metadata of a run" in said
    assert "Traceback" not in said
