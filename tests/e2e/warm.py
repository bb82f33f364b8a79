"""Commands in processes forked from one that has imported TensorFlow and TFX, which takes longer than most commands.

A command has a process, arguments, environment and files of its own, as from a shell; it only finds its imports done.
What start-up itself is about (chatter, signals, what a missing package does) is tested in processes that start cold.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[2]
IMPORTS = (
    "pipeline.local_runner",
    "pipeline.pipeline",
    "pipeline.trainings",
    "trainer.run_fn",
    "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",
)


class Warm:
    """The process that forks; it ends with the one that made it."""

    def __init__(self, folder: Path):
        """Args: folder: For its socket and its log."""
        self.address, self.log = str(folder / "socket"), folder / "log"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.address)
        self.listener.listen()
        environment = {name: v for name, v in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.warm", str(self.listener.fileno())],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            pass_fds=[self.listener.fileno()],
        )

    def run(self, module, arguments, cwd=None, env=None):
        """Runs `python -m module`; returns what subprocess.run does, with text.

        Args:
            module: As after -m.
            arguments: Words of the command.
            cwd: Folder to run in; None: this one.
            env: Environment; None: this one.
        """
        asked = {
            "module": module,
            "arguments": list(map(str, arguments)),
            "environment": dict(os.environ if env is None else env),
            "folder": str(cwd or Path.cwd()),
        }
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            status = self._call(json.dumps(asked).encode(), out.fileno(), err.fileno())
            texts = [file.seek(0) or file.read() for file in (out, err)]
        return subprocess.CompletedProcess([module, *asked["arguments"]], status, *texts)

    def _call(self, content, *files):
        with socket.socket(socket.AF_UNIX) as call:
            call.settimeout(900)
            call.connect(self.address)
            socket.send_fds(call, [content], files)
            call.shutdown(socket.SHUT_WR)
            status = call.recv(100)
        assert status, f"the process that forks commands failed: {self.log.read_text()[-3000:]}"
        return int(status)

    def stop(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.listener.close()


def serve(listener: socket.socket) -> None:
    """Forks for every call, until standard input is closed."""
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        call, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            answer(call)
        call.close()


def answer(call: socket.socket) -> NoReturn:
    """Forks once more for the command, and sends its exit status."""
    content, files, _, _ = socket.recv_fds(call, 1, 2)
    while part := call.recv(1 << 20):
        content += part
    if (child := os.fork()) == 0:
        call.close()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(files[0], 1)
        os.dup2(files[1], 2)
        command(**json.loads(content))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    call.sendall(str(status).encode())
    os._exit(0)


def command(module: str, arguments: list[str], environment: dict[str, str], folder: str) -> NoReturn:
    """Becomes the command."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[0] = folder
    sys.path.extend(filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)))
    sys.argv = [module, *arguments]
    status = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
        status = 1
    # As an interpreter ends, less the taking apart of a million imported objects.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    from pipeline.console import quiet

    quiet()
    for name in IMPORTS:
        importlib.import_module(name)
    gc.freeze()  # a collection in a command need not look through, and so copy, all that was imported
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the calls
    serve(socket.socket(fileno=int(sys.argv[1])))
