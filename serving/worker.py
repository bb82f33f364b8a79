"""The process that runs TensorFlow for the model server: one, apart from the server, started anew when it dies.

A tensor of a wrong rank, a broken model or want of memory can end TensorFlow's whole process (serving.md, 5.4).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from lesions.errors import WorkError
from lesions.progress import LOGGER
from serving import device
from serving.rest_api.errors import CODES, RestError
from serving.rest_api.signature import Signature, TensorInfo

log = logging.getLogger(LOGGER)
START_SECONDS = 300.0  # to import TensorFlow on a busy machine
LOAD_SECONDS = 300.0
LONGEST_PAUSE = (
    30.0  # between a death and the next start; the first is half a second, then twice as much each time
)
STEADY_SECONDS = 60.0  # after so long without a death the pauses begin anew
RETRY_AFTER = 10  # seconds, about what a start takes
Key = tuple[str, int]


class WorkerDiedError(Exception):
    """The process ended in the midst of something."""


class Worker:
    """The process, seen from the server's event loop. One thing at a time: TensorFlow uses all processors anyway."""

    def __init__(self, timeout: float = 120.0):
        """Args: timeout: Seconds that a prediction may take; then its process is ended too."""
        self.timeout, self.restarts = timeout, 0
        self._models: dict[Key, Path] = {}
        self._thread = ThreadPoolExecutor(1, "worker")
        self._lock, self._up = asyncio.Lock(), asyncio.Event()
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._restart: asyncio.Task[None] | None = None
        self._deaths, self._since, self._closed = 0, 0.0, False

    @property
    def up(self) -> bool:
        """Whether it can be asked."""
        return self._up.is_set()

    @property
    def pid(self) -> int | None:
        """Of the process, None while there is none."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Starts the process and waits for it. Raises WorkError where it does not come up."""
        try:
            await self._spawn()
        except (WorkerDiedError, RestError):
            raise WorkError("the process for the models does not start; see the messages above") from None
        self._up.set()

    async def close(self) -> None:
        """Ends the process."""
        self._closed = True
        self._up.clear()
        if self._restart:
            self._restart.cancel()
        process, self._process = self._process, None
        if process:
            asyncio.get_running_loop().remove_reader(process.sentinel)
            process.kill()
            process.join()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def load(self, name: str, version: int, folder: Path) -> dict[str, Signature]:
        """Loads a model and returns its signatures. Raises RestError where that fails or ends the process twice."""
        found: dict[str, Signature] = await self._twice(("load", (name, version), str(folder)), LOAD_SECONDS)
        self._models[name, version] = folder
        return found

    async def unload(self, name: str, version: int) -> None:
        """Frees a model."""
        self._models.pop((name, version), None)
        await self._twice(("unload", (name, version)), LOAD_SECONDS)

    async def predict(
        self, name: str, version: int, signature: str, inputs: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Raises:
            RestError: It failed; it took too long; the process is not up, or died of this request twice.
        """
        answer: dict[str, np.ndarray] = await self._twice(
            ("predict", (name, version), signature, inputs), self.timeout
        )
        if time.monotonic() - self._since > STEADY_SECONDS:
            self._deaths = 0
        return answer

    async def _twice(self, message: tuple[Any, ...], seconds: float) -> Any:
        for attempt in range(2):
            if attempt:  # perhaps it only died at the same time
                await self._wait()
            try:
                return await self._once(message, seconds)
            except WorkerDiedError:
                continue
        raise RestError(
            "INTERNAL", "The process with the models died of this request twice; do not send it again"
        )

    async def _once(self, message: tuple[Any, ...], seconds: float) -> Any:
        async with self._lock:
            if not self._up.is_set():
                raise RestError("UNAVAILABLE", "The process with the models is starting; try again")
            process = self._process
            try:
                return await self._ask(message, seconds)
            except WorkerDiedError:
                self._ended(process)
                raise

    async def _wait(self) -> None:
        try:
            await asyncio.wait_for(self._up.wait(), START_SECONDS)
        except asyncio.TimeoutError:
            raise RestError("UNAVAILABLE", "The process with the models does not come back") from None

    async def _spawn(self) -> None:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=main, args=(theirs,), daemon=True, name="raxnet-models")
        process.start()
        theirs.close()  # so that its death closes the pipe
        self._process, self._pipe = process, ours
        asyncio.get_running_loop().add_reader(process.sentinel, self._ended, process)
        await self._ask(None, START_SECONDS)
        self._since = time.monotonic()

    async def _ask(self, message: tuple[Any, ...] | None, seconds: float) -> Any:
        process, pipe, loop = self._process, self._pipe, asyncio.get_running_loop()
        if process is None or pipe is None:
            raise WorkerDiedError
        return await loop.run_in_executor(self._thread, _exchange, process, pipe, message, seconds)

    def _ended(self, process: BaseProcess | None) -> None:
        """Called when it is gone, however that was found out; only the first call counts."""
        if process is None or process is not self._process or self._closed:
            return
        asyncio.get_running_loop().remove_reader(process.sentinel)
        self._up.clear()
        self._process = None
        process.kill()
        process.join(1)
        pause = min(0.5 * 2**self._deaths, LONGEST_PAUSE)
        self._deaths, self.restarts = self._deaths + 1, self.restarts + 1
        log.warning("the process with the models ended (%s); a new one in %g s", process.exitcode, pause)
        self._restart = asyncio.get_running_loop().create_task(self._again(pause))

    async def _again(self, pause: float) -> None:
        await asyncio.sleep(pause)
        try:
            async with self._lock:
                await self._spawn()
                for key, folder in list(self._models.items()):
                    await self._reload(key, folder)
        except (WorkerDiedError, RestError):
            self._ended(self._process)  # and so on, after a longer pause
            return
        self._up.set()

    async def _reload(self, key: Key, folder: Path) -> None:
        try:
            await self._ask(("load", key, str(folder)), LOAD_SECONDS)
        except RestError as error:  # its files are gone or broken by now
            log.warning("%s %d is lost: %s", *key, error.message)
            self._models.pop(key, None)


def _exchange(process: BaseProcess, pipe: Connection, message: Any, seconds: float) -> Any:
    """Sends a message, if any, and waits for the answer; in a thread."""
    try:
        if message is not None:
            pipe.send(message)
        if not pipe.poll(seconds):
            process.kill()
            raise RestError("DEADLINE_EXCEEDED", "Timed out waiting for notification")
        answer = pipe.recv()
    except (EOFError, OSError):
        raise WorkerDiedError from None
    if isinstance(answer, RestError):
        raise answer
    return answer


def main(pipe: Connection) -> None:
    """What the process does: answers one message after the other until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server's to handle
    models: dict[Key, Any] = {}
    device.tensorflow()
    pipe.send("up")
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            return
        try:
            answer = _ACTIONS[message[0]](models, *message[1:])
        except RestError as error:
            answer = error
        except Exception as error:  # TensorFlow raises a dozen kinds
            answer = _translated(error)
        pipe.send(answer)


def _load(models: dict[Key, Any], key: Key, folder: str) -> dict[str, Signature]:
    tf = device.tensorflow()
    found = read_signatures(Path(folder))
    models[key] = tf.saved_model.load(folder)
    return found


def _unload(models: dict[Key, Any], key: Key) -> None:
    models.pop(key, None)


def _predict(
    models: dict[Key, Any], key: Key, signature: str, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    tf = device.tensorflow()
    if key not in models:
        raise RestError("NOT_FOUND", f"Servable not found for request: Specific({key[0]}, {key[1]})")
    answer = models[key].signatures[signature](**{name: tf.constant(v) for name, v in inputs.items()})
    return {name: _array(value.numpy()) for name, value in sorted(answer.items())}


def _array(value: Any) -> np.ndarray:
    return np.array(value, object) if isinstance(value, bytes) else np.asarray(value)


_ACTIONS: dict[str, Callable[..., Any]] = {"load": _load, "unload": _unload, "predict": _predict}


def _translated(error: Exception) -> RestError:
    """An exception of TensorFlow's with its own code; others mean that the model or the request does not fit."""
    code = getattr(error, "error_code", None)
    name = CODES[code] if isinstance(code, int) and 0 < code < len(CODES) else "INVALID_ARGUMENT"
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    return RestError(name, text)


def read_signatures(folder: Path) -> dict[str, Signature]:
    """The signatures of a SavedModel, from its file, by name."""
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((folder / "saved_model.pb").read_bytes())
        graph = next(g for g in model.meta_graphs if "serve" in g.meta_info_def.tags)
    except (OSError, StopIteration, ValueError) as error:
        raise RestError("NOT_FOUND", f"{folder}: no readable SavedModel for serving ({error})") from None
    except Exception as error:  # protobuf's DecodeError, which is of another class in each of its versions
        raise RestError("DATA_LOSS", f"{folder}/saved_model.pb: damaged ({error})") from None
    return {
        name: Signature(_infos(one.inputs), _infos(one.outputs), one.method_name)
        for name, one in sorted(graph.signature_def.items())
    }


def _infos(tensors: Any) -> dict[str, TensorInfo]:
    from tensorflow.core.framework import types_pb2

    found = {}
    for name, info in sorted(tensors.items()):
        shape = info.tensor_shape
        sizes = None if shape.unknown_rank else tuple(dim.size for dim in shape.dim)
        found[name] = TensorInfo(types_pb2.DataType.Name(info.dtype), sizes, info.name)
    return found
