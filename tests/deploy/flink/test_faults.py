"""Processes of the cluster killed with -9 in the midst of an ingest: it ends with all records, each once."""

import threading

import pytest

from pipeline import beam
from pipeline.config import BEAM_LOCAL
from tests.deploy.flink.conftest import wait_for
from tests.deploy.flink.ingests import SUBJECTS, contents, ingest, shards, write_scans

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return write_scans(tmp_path_factory.mktemp("scans"))


@pytest.fixture(scope="module")
def expected(scans, tmp_path_factory):
    """The local runner's files."""
    folder = tmp_path_factory.mktemp("local")
    ingest(folder, scans, BEAM_LOCAL)
    return contents(folder)


class Ingest(threading.Thread):
    """An ingest on the cluster, and how it ended."""

    def __init__(self, folder, scans):
        super().__init__()
        self.folder, self.scans, self.error = folder, scans, None
        self.start()

    def run(self):
        try:
            ingest(self.folder, self.scans, beam.load_profile("flink"))
        except Exception as error:
            self.error = error

    def wait_for(self, subjects):
        wait_for(lambda: shards(self.folder) >= subjects or not self.is_alive())

    def ended(self):
        self.join()
        if self.error:
            raise self.error
        return contents(self.folder)


@pytest.mark.parametrize("subjects", [1, SUBJECTS // 2], ids=["early", "midway"])
def test_a_lost_task_manager_that_comes_back(flink, tmp_path, scans, expected, subjects):
    run = Ingest(tmp_path / "out", scans)
    run.wait_for(subjects)
    at, alive = shards(run.folder), run.is_alive()
    flink.kill("taskmanager1")
    assert alive, f"killed after the end, at {at}"
    flink.start()
    assert run.ended() == expected


def test_a_lost_task_manager_that_does_not(flink, tmp_path, scans, expected):
    run = Ingest(tmp_path / "out", scans)
    run.wait_for(SUBJECTS - 2)
    alive = run.is_alive()
    flink.kill("taskmanager2")
    assert alive
    try:
        assert run.ended() == expected
        assert flink.command("status").returncode == 1
    finally:
        flink.start()


def test_a_lost_sdk_worker(flink, tmp_path, scans, expected):
    run = Ingest(tmp_path / "out", scans)
    run.wait_for(SUBJECTS // 4)
    flink.workers()[0].kill()
    assert run.ended() == expected
