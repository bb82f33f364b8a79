"""A real Flink cluster for the tests of a session: four Java processes, on ports of its own."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

DEPLOY = Path(__file__).resolve().parents[3] / "deploy" / "flink"
PORTS = ("RAXNET_FLINK_PORT", "RAXNET_FLINK_REST_PORT", "RAXNET_FLINK_RPC_PORT")
REQUIRE = "RAXNET_REQUIRE_FLINK"  # environment variable: set where these tests must run


def missing():
    """Why there can be no cluster here, None where there can."""
    spec = importlib.util.spec_from_file_location("flink_jars", DEPLOY / "jars.py")
    jars = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(jars)
    try:
        jars.java(), jars.maven()
    except jars.Missing as error:
        return str(error)
    return None


def free_ports(count):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Flink:
    """The cluster's command, and its processes."""

    def __init__(self, folder):
        self.folder, self.rest_port = folder, int(os.environ["RAXNET_FLINK_REST_PORT"])

    def command(self, *arguments):
        command = [sys.executable, str(DEPLOY / "cluster.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)

    def start(self):
        done = self.command("start")
        assert done.returncode == 0, done.stderr
        return done

    def process(self, name):
        return psutil.Process(int((self.folder / f"{name}.pid").read_text()))

    def kill(self, name):
        process = self.process(name)
        process.send_signal(signal.SIGKILL)
        process.wait(30)

    def workers(self):
        """SDK workers of both TaskManagers."""
        managers = [self.process(f"taskmanager{number}") for number in (1, 2)]
        found = [child for manager in managers for child in manager.children(recursive=True)]
        return [child for child in found if any("beam_worker.py" in part for part in child.cmdline())]


@pytest.fixture(scope="session")
def flink(tmp_path_factory):
    """A cluster that runs, ended with the session; environment variables lead the profile flink to it."""
    reason = missing()
    if reason and os.environ.get(REQUIRE):
        pytest.fail(f"{REQUIRE} is set: {reason}")
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("flink")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAXNET_FLINK", str(folder))
        for name, port in zip(PORTS, free_ports(3), strict=True):
            patch.setenv(name, str(port))
        cluster = Flink(folder)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.command("stop")
            shutil.rmtree(folder / "tmp", ignore_errors=True)


def wait_for(condition, seconds=300):
    """Waits until a condition holds; a busy machine is slow, not wrong."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.002)
