"""`raxnet gc` after real runs of a small TFX pipeline: what newer runs need stays, and the cache tells the truth."""

import os
import time
from pathlib import Path

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types.standard_artifacts import Examples

from pipeline import executions
from pipeline.cli.main import main
from serving.releases import publish
from tests.serving.conftest import make_card
from trainer.record_store import FACTS


@component
def Same(out: OutputArtifact[Examples]) -> None:
    """The same in every run."""
    _write(out, "same")


@component
def Changing(value: Parameter[str], out: OutputArtifact[Examples]) -> None:
    """As the configuration has it; -: fails."""
    if value == "-":
        raise ValueError(value)
    _write(out, value)


@component
def ReportGen(
    same: InputArtifact[Examples], changing: InputArtifact[Examples], out: OutputArtifact[Examples]
) -> None:
    """Ends a run."""
    _write(out, Path(changing.uri, "file").read_text() + Path(same.uri, "file").read_text())


def _write(artifact, text):
    Path(artifact.uri).mkdir(parents=True, exist_ok=True)
    Path(artifact.uri, "file").write_text(text)


def run(root, value):
    """Executed or cached, by node; None where the run failed."""
    same, changing = Same(), Changing(value=value)
    last = ReportGen(same=same.outputs["out"], changing=changing.outputs["out"])
    made = Pipeline(
        "raxnet",
        str(root / "artifacts"),
        components=[same, changing, last],
        enable_cache=True,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(root / "metadata.db")),
    )
    try:
        LocalDagRunner().run(made)
    except Exception:
        return None
    return executions.states(root / "metadata.db", ["Same", "Changing", "ReportGen"])


def texts(root, node):
    return sorted(path.read_text() for path in (root / "artifacts" / node / "out").glob("*/file"))


@pytest.fixture
def root(tmp_path):
    """A run of each letter, b's once more with nothing changed, and one that fails last."""
    for value in "abbc-":
        assert (run(tmp_path, value) is None) == (value == "-")
    return tmp_path


def test_newer_runs_stay_and_the_cache_tells_the_truth(root, capsys):
    assert main(["gc", str(root), "--keep", "2"]) == 0
    assert "artifacts/Changing/out: " in capsys.readouterr().out
    assert texts(root, "Same") == ["same"]  # made in the run that is gone
    assert texts(root, "Changing") == ["b", "c"]
    assert texts(root, "ReportGen") == ["bsame", "csame"]
    assert set(run(root, "c").values()) == set(run(root, "b").values()) == {"cached"}
    assert run(root, "a") == {"Same": "cached", "Changing": "executed", "ReportGen": "executed"}
    assert texts(root, "Changing") == ["a", "b", "c"]


def test_what_is_gone_is_called_deleted(root):
    assert main(["gc", str(root), "--keep", "1"]) == 0
    connection = pb.ConnectionConfig()
    connection.sqlite.filename_uri = str(root / "metadata.db")
    for artifact in metadata_store.MetadataStore(connection).get_artifacts():
        written = Path(artifact.uri, "file").exists()
        state = pb.Artifact.State.Name(artifact.state)
        assert (state == "LIVE") == written, artifact.uri


def test_a_dry_run_says_the_same_and_removes_nothing(root, capsys):
    before = sorted(root.rglob("*"))
    assert main(["gc", str(root), "--keep", "1", "--dry-run"]) == 0
    dry = capsys.readouterr().out
    assert sorted(root.rglob("*")) == sorted({*before, root / "run.lock"})
    assert main(["gc", str(root), "--keep", "1"]) == 0
    wet = capsys.readouterr().out
    assert dry.replace("would go", "removed") == wet
    assert "4 folders removed, 0.0 MB" in wet
    assert main(["gc", str(root), "--keep", "1"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"


def test_nothing_goes_where_no_more_runs_are_complete(root, capsys):
    assert main(["gc", str(root), "--keep", "3"]) == 0
    assert main(["gc", str(root), "--keep", "4"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n" * 2


def entry(root, key, *nodes):
    """An entry of the record store that is linked into the newest artifacts of some nodes, from before the runs."""
    folder = root / "records/code" / key
    folder.mkdir(parents=True)
    for name in (FACTS, "axial.tfrecord"):
        (folder / name).write_bytes(b"r" * 1000)
    for file in nodes:
        os.link(folder / "axial.tfrecord", file.with_name(f"{key}.tfrecord"))
    os.utime(folder, (0, 0))
    return folder


def test_records_go_with_the_last_artifact_that_has_them(root, capsys):
    files = {path.read_text(): path for path in (root / "artifacts/Changing/out").glob("*/file")}
    old, both = entry(root, "old", files["a"]), entry(root, "both", files["a"], files["c"])
    new = entry(root, "new")
    os.utime(new, (time.time(), time.time()))  # of an ingest that was interrupted
    assert main(["gc", str(root), "--keep", "2"]) == 0
    assert "records/code: old" in (said := capsys.readouterr().out)
    assert (old.exists(), both.exists(), new.exists()) == (False, True, True)
    assert "3 folders removed, 0.0 MB" in said
    assert (files["c"].parent / "both.tfrecord").read_bytes() == b"r" * 1000


def test_records_stay_where_artifacts_have_copies(root):
    lonely = entry(root, "copied")
    assert main(["gc", str(root), "--keep", "1"]) == 0
    assert lonely.exists()


def version(root, plane, number):
    folder = root / "serving_models" / plane / str(number)
    make_card(plane).write(folder)
    (folder / "saved_model.pb").write_bytes(b"")
    (folder / "variables").mkdir()
    (folder / "variables/variables.index").write_bytes(b"")
    return folder


def test_released_models_and_those_that_are_served_stay(root):
    released, lost, served = (version(root, "axial", number) for number in (7, 8, 9))
    publish({"models": {"axial": {"version": 7}}}, root / "serving_models/releases")
    killed, pushing = (root / f"serving_models/axial/.staged-{number}" for number in (10, 11))
    for folder in (killed, pushing):
        folder.mkdir()
    os.utime(killed, (0, 0))
    assert main(["gc", str(root)]) == 0
    assert set((root / "serving_models/axial").iterdir()) == {released, served, pushing}
    assert not lost.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "no run here (metadata.db is missing)"),
        ([".", "--keep", "0"], "--keep must be 1 or more"),
    ],
)
def test_bad_input_writes_nothing(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert main(["gc", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
