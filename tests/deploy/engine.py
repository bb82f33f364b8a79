"""A Docker engine for the tests: the one that runs here, or one that is started for them and ended with them."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

CACHE = Path(os.environ.get("RAXNET_ROOTS", Path.home() / ".cache/raxnet"))
START_SECONDS = 300  # on a busy machine; a quiet one takes two


class UnavailableError(Exception):
    """Why there is no engine."""


@dataclass(frozen=True)
class Engine:
    """An engine, as its client sees it.

    Attributes:
        client: The program `docker`.
        host: Where the engine listens; None: where the client looks by itself.
        own: Whether it was started here, so that nothing in it is anybody else's.
    """

    client: str
    host: str | None = None
    own: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """For the client, and for Compose."""
        return os.environ | {"DOCKER_BUILDKIT": "0"} | ({"DOCKER_HOST": self.host} if self.host else {})

    def ask(self, *words: object, cwd: Path | None = None, timeout: float | None = None):
        """What `docker WORDS` answers, whatever its exit status."""
        command = [self.client, *map(str, words)]
        return subprocess.run(
            command, cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=timeout
        )

    def say(self, *words: object, cwd: Path | None = None) -> str:
        """What `docker WORDS` prints; it must succeed."""
        done = self.ask(*words, cwd=cwd)
        assert done.returncode == 0, f"docker {words}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout.strip()

    def inspect(self, name: str, what: str) -> str:
        """A field of a container or an image, `what` as Go's templates write it: .State.Pid."""
        return self.say("inspect", "--format", f"{{{{{what}}}}}", name)

    def build(self, context: Path, tag: str, *options: str) -> str:
        """Builds an image, prints how long that took, and returns what the builder said."""
        began = time.monotonic()
        said = self.say("build", "-t", tag, *options, ".", cwd=context)
        print(f"docker build -t {tag}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        return said

    def answers(self) -> bool:
        """Whether there is an engine at the other end."""
        return self.ask("version", "--format", "{{.Server.Version}}").returncode == 0


@contextmanager
def available() -> Iterator[Engine]:
    """Gives the engine that runs, or one of its own while the block lasts. Raises UnavailableError with the reason."""
    clients = [found for folder in os.get_exec_path() if (found := shutil.which("docker", path=folder))]
    running = next((engine for engine in map(Engine, clients) if engine.answers()), None)
    if running:
        yield running
        return
    if reason := _missing():
        raise UnavailableError(f"no Docker engine answers, and none can be started here: {reason}")
    home = CACHE / "docker"
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / "lock"), tempfile.TemporaryDirectory(prefix="raxnet-docker-") as folder:
        # Two engines must not share the layers. A socket's path has to be short.
        yield from _started(home, Path(folder), clients)


def _missing() -> str:
    """What is missing for an engine of our own; empty where nothing is."""
    if platform.system() != "Linux" or os.geteuid() != 0:
        return "that needs root on Linux; start Docker"
    if not (shutil.which("dockerd") and shutil.which("docker")):
        return "there is no dockerd; apt-get install docker.io"
    return ""


def _started(home: Path, folder: Path, clients: list[str]) -> Iterator[Engine]:
    """Starts an engine whose layers stay in `home`, and ends it."""
    socket = f"unix://{folder}/socket"
    places = [f"--data-root={home / 'data'}", f"--exec-root={folder / 'exec'}", f"--pidfile={folder / 'pid'}"]
    # It ends with this process, however that ends. Rules of the firewall are not ours to change.
    command = ["setpriv", "--pdeathsig", "TERM", "dockerd", *places, "-H", socket]
    with (home / "dockerd.log").open("w") as log:
        words = [*command, "--iptables=false", "--ip6tables=false"]
        daemon = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        engine = _wait(daemon, socket, clients, home / "dockerd.log")
        if left := engine.say("ps", "--all", "--quiet").split():  # of tests that were killed
            engine.say("rm", "--force", *left)
        yield engine
        engine.say("image", "prune", "--force")  # layers of earlier trees
    finally:
        daemon.terminate()
        daemon.wait(120)
        # It leaves this mount behind, and a folder with a mount in it cannot be removed.
        subprocess.run(["umount", folder / "exec/netns/default"], capture_output=True)


def _wait(daemon: subprocess.Popen, socket: str, clients: list[str], log: Path) -> Engine:
    """The engine, once a client can talk to it: a newer one may refuse an older engine.

    It is always the same client, because what another one sends is not found in the cache of layers.
    """
    end = time.monotonic() + START_SECONDS
    engines = [Engine(client, socket, own=True) for client in clients]
    while daemon.poll() is None and time.monotonic() < end:
        if any(engine.answers() for engine in engines):
            return next(engine for engine in engines if engine.answers())
        time.sleep(0.5)
    raise UnavailableError(f"dockerd does not start: {log.read_text()[-1000:]}")
