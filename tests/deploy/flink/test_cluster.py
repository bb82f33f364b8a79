"""The cluster's command: twice is as good as once, and what cannot be is said."""

import os
import subprocess
import sys

import pytest

from tests.deploy.flink.conftest import DEPLOY, PORTS, free_ports

NAMES = ("jobmanager", "jobserver", "taskmanager1", "taskmanager2")


def cluster(folder, command, **environment):
    changed = os.environ | {"RAXNET_FLINK": str(folder)} | environment
    arguments = [sys.executable, str(DEPLOY / "cluster.py"), command]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=600, env=changed, check=False)


@pytest.mark.slow
def test_a_second_start_starts_nothing(flink):
    before = {name: flink.process(name).pid for name in NAMES}
    done = flink.start()
    assert {name: flink.process(name).pid for name in NAMES} == before
    assert "starting" not in done.stderr
    for name in NAMES:
        log = max((flink.folder / "logs").glob(f"{name}-*.log"))
        assert log.stat().st_size
        assert str(log) in done.stdout
        assert f"process {before[name]}" in done.stdout


@pytest.mark.slow
def test_a_start_on_taken_ports_says_so_and_leaves_nothing(flink, tmp_path):
    before = {name: flink.process(name).pid for name in NAMES}
    done = cluster(tmp_path, "start")
    assert done.returncode == 1
    assert "ended; " in done.stderr
    assert not list(tmp_path.glob("*.pid"))
    assert {name: flink.process(name).pid for name in NAMES} == before


def test_nothing_runs_where_nothing_was_started(tmp_path):
    ports = {name: str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}
    assert cluster(tmp_path, "stop").returncode == 0
    done = cluster(tmp_path, "status", **ports)
    assert done.returncode == 1
    assert all(f"{name:13s} down" in done.stdout for name in NAMES)


def test_a_missing_java_is_named(tmp_path):
    done = cluster(tmp_path, "start", JAVA_HOME=str(tmp_path / "java"))
    assert done.returncode == 1
    assert f"{tmp_path}/java/bin/java: does not run" in done.stderr
    assert "openjdk-17" in done.stderr


def test_another_java_is_refused(tmp_path):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019' >&2\n")
    java.chmod(0o755)
    done = cluster(tmp_path, "start", JAVA_HOME=str(tmp_path))
    assert done.returncode == 1
    assert 'Java 17 is needed, found openjdk version "11.0.2"' in done.stderr


def test_another_process_of_the_same_id_is_left_alone(tmp_path):
    (tmp_path / "jobmanager.pid").write_text(f"{os.getpid()}\n")
    assert cluster(tmp_path, "stop").returncode == 0  # this process would have ended
    assert not (tmp_path / "jobmanager.pid").exists()
