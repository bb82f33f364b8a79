"""A real Flink cluster on this machine: python deploy/flink/cluster.py start | stop | status.

A JobManager, TaskManagers and Beam's job server, each a JVM of its own, from Maven packages; Java 17. `start` starts
what does not run, and returns when every part answers; twice is as good as once. `stop` ends all of it. Logs are kept.

RAXNET_FLINK: folder of ids, logs and temporary files; ~/.cache/raxnet/flink where it is not set. The jars lie
in the latter in any case.
RAXNET_FLINK_PORT: where Beam's jobs are taken, 8099; RAXNET_FLINK_REST_PORT: Flink's own page and REST API, 8081;
RAXNET_FLINK_RPC_PORT: of the JobManager, 6123. SDK workers run in the Python that runs this command.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import filelock
from beam_worker import LOGS
from daemons import Daemon, tail, wait_until
from jars import HERE, Missing, classpath, java

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "raxnet" / "flink"
START_SECONDS = 180  # on a busy machine; a quiet one takes some 15
GONE = ("FINISHED", "FAILED", "CANCELED")
# What Flink and Beam reach into Java for; Java 17 closes it unless it is told.
PACKAGES = "lang lang.reflect util util.concurrent nio net io text time"
JAVA = [
    "-XX:+UseSerialGC",  # four processes on a few processors
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    *(f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in PACKAGES.split()),
]
# A TaskManager that is not started by Flink's own scripts must be told every size. 1.4 GB at most; about 0.5 in use.
SIZES = {
    "cpu.cores": "1",
    "memory.task.heap.size": "384m",
    "memory.task.off-heap.size": "0m",
    "memory.network.min": "256m",
    "memory.network.max": "256m",
    "memory.managed.size": "128m",
    "memory.framework.heap.size": "128m",
    "memory.framework.off-heap.size": "128m",
    "memory.jvm-metaspace.size": "256m",
    "memory.jvm-overhead.min": "128m",
    "memory.jvm-overhead.max": "128m",
}


class Cluster:
    """The cluster of a folder; `said` is told what happens."""

    def __init__(self, folder: Path, task_managers: int = 2):
        """Args: folder: Of ids and logs. task_managers: How many there shall be."""
        self.folder, self.task_managers = folder, task_managers
        self.port, self.rest_port, self.rpc_port = (
            int(os.environ.get(name, default))
            for name, default in (
                ("RAXNET_FLINK_PORT", 8099),
                ("RAXNET_FLINK_REST_PORT", 8081),
                ("RAXNET_FLINK_RPC_PORT", 6123),
            )
        )

    @property
    def daemons(self) -> list[Daemon]:
        """Those that shall run and those that do."""
        names = {"jobmanager", "jobserver", *(f"taskmanager{i + 1}" for i in range(self.task_managers))}
        names |= {path.stem for path in self.folder.glob("taskmanager*.pid")}
        return [Daemon(name, self.folder) for name in sorted(names)]

    def start(self) -> None:
        """Starts what does not run and waits until all of it answers.

        Raises:
            Missing: Java, Maven or the jars are not to be had, or a process ended or never answered.
        """
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        program = java()
        jars = classpath(CACHE, self.folder / "maven.log")
        down = [daemon for daemon in self.daemons if daemon.process is None]
        for daemon in down:
            print(f"flink: starting {daemon.name}", file=sys.stderr)
            daemon.start(program, [*JAVA, "-cp", jars, *self._arguments(daemon.name)], self._environment())
        try:
            self._wait()
        except Missing:  # leave nothing of a start that failed
            for daemon in down:
                daemon.stop()
            raise
        if any(daemon.name == "jobserver" for daemon in down):
            self._cancel_jobs()

    def stop(self) -> None:
        """Ends everything: first what sends jobs, last what the others report to."""
        order = ("jobserver", "taskmanager", "jobmanager")
        for daemon in sorted(self.daemons, key=lambda one: order.index(one.name.rstrip("0123456789"))):
            if daemon.stop():
                print(f"flink: stopped {daemon.name}", file=sys.stderr)

    def lacking(self) -> list[str]:
        """What does not answer yet; empty where the cluster can take a job."""
        known = self.rest("/taskmanagers")
        ids = {one["id"] for one in known["taskmanagers"]} if known else set()
        lacking = [] if known else ["jobmanager"]
        for daemon in self.daemons:
            if daemon.name.startswith("taskmanager") and _resource_id(daemon) not in ids:
                lacking.append(daemon.name)
        with suppress(OSError), socket.create_connection(("localhost", self.port), timeout=5):
            return lacking
        return [*lacking, "jobserver"]

    def rest(self, path: str, method: str = "GET") -> Any:
        """An answer of Flink's REST API, None where there is none."""
        request = urllib.request.Request(f"http://localhost:{self.rest_port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None

    def _wait(self) -> None:
        for _ in wait_until(START_SECONDS):
            for daemon in self.daemons:
                if daemon.process is None:
                    raise Missing(f"{daemon.name} ended; {daemon.log} ends so:\n{tail(daemon.log)}")
            if not self.lacking():
                return
        raise Missing(
            f"no answer from {', '.join(self.lacking())} in {START_SECONDS} s; see {self.folder}/logs"
        )

    def _cancel_jobs(self) -> None:
        """Ends jobs of a job server that is gone: nobody waits for them, and they hold the slots."""
        jobs = (self.rest("/jobs") or {"jobs": []})["jobs"]
        for job in (one["id"] for one in jobs if one["status"] not in GONE):
            print(f"flink: canceling job {job} of a job server that is gone", file=sys.stderr)
            self.rest(f"/jobs/{job}?mode=cancel", "PATCH")
            for _ in wait_until(START_SECONDS):
                if (self.rest(f"/jobs/{job}") or {"state": ""})["state"] in GONE:
                    break

    def _environment(self) -> dict[str, str]:
        """Of the processes: SDK workers find this Python first, and a folder for their logs."""
        python = str(Path(sys.executable).parent)
        path = os.pathsep.join([python, os.environ.get("PATH", os.defpath)])
        return {**os.environ, "PATH": path, LOGS: str(self.folder / "logs")}

    def _arguments(self, name: str) -> list[str]:
        """Java's arguments for a process: memory, main class and its own."""
        settings = {
            "rest.port": self.rest_port,
            "jobmanager.rpc.port": self.rpc_port,
            "io.tmp.dirs": self.folder / "tmp",
        }
        if name == "jobserver":
            return [
                *("-Xmx640m", "org.apache.beam.runners.flink.FlinkJobServerDriver"),
                *(f"--flink-master=localhost:{self.rest_port}", f"--job-port={self.port}"),
                *("--job-host=localhost", "--artifact-port=0", "--expansion-port=0"),
                f"--artifacts-dir={self.folder / 'artifacts'}",
            ]
        if name == "jobmanager":
            kind = ["-Xmx512m", "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"]
        else:
            kind = ["-Xmx512m", "-XX:MaxDirectMemorySize=512m"]
            kind += ["org.apache.flink.runtime.taskexecutor.TaskManagerRunner"]
            settings |= {f"taskmanager.{key}": size for key, size in SIZES.items()}
            settings["taskmanager.resource-id"] = f"{name}-{time.time_ns()}"
        given = [text for key, value in settings.items() for text in ("-D", f"{key}={value}")]
        return [*kind, "--configDir", str(HERE), *given]


def _resource_id(daemon: Daemon) -> str:
    """The name under which a running TaskManager is known: each start has another."""
    process = daemon.process
    arguments = process.cmdline() if process else []
    return next((a.partition("=")[2] for a in arguments if a.startswith("taskmanager.resource-id=")), "")


def main() -> int:
    """Does what is asked; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["start", "stop", "status"])
    parser.add_argument("--task-managers", type=int, default=2, metavar="N", help="at least so many; 2")
    given = parser.parse_args()
    folder = Path(os.environ.get("RAXNET_FLINK", CACHE)).absolute()
    cluster = Cluster(folder, given.task_managers)
    if given.command == "status":
        return _status(cluster)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / "lock"):
            getattr(cluster, given.command)()
    except Missing as error:
        print(f"flink: {error}", file=sys.stderr)
        return 1
    return _status(cluster) if given.command == "start" else 0


def _status(cluster: Cluster) -> int:
    lacking = cluster.lacking()
    for daemon in cluster.daemons:
        process = daemon.process
        state = (
            "down" if process is None else "no answer" if daemon.name in lacking else f"process {process.pid}"
        )
        print(f"{daemon.name:13s} {state:15s} {daemon.log or ''}")
    if not lacking:
        print(
            f"jobs: localhost:{cluster.port}   page: http://localhost:{cluster.rest_port}   folder: {cluster.folder}"
        )
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
