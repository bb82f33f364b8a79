"""The whole server, as a process: what the gateway costs, and many clients at once."""

from __future__ import annotations

import gzip
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import nibabel as nib
import numpy as np
import psutil

from lesions import nifti
from lesions.phantom import make_subject
from serving.predictor import Predictor, open_models
from serving.segmenter import segment

ROOT = Path(__file__).parents[1]
GOAL = 1.10  # the gateway's time over the same in this process


@dataclass
class Running:
    """A server: its address, and its processes."""

    url: str
    process: psutil.Process

    def memory(self) -> float:
        """Bytes that all its processes have now."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(one.memory_info().rss for one in family)


@contextmanager
def serving(models: Path) -> Iterator[Running]:
    """`raxnet serve`, as a person starts it."""
    command = [
        sys.executable,
        "-m",
        "pipeline.cli.main",
        "serve",
        str(models),
        "--port",
        "0",
        "--rest-port",
        "0",
    ]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            said = [process.stdout.readline() for _ in range(2)]
            if not said[1]:
                errors.seek(0)
                raise SystemExit(f"raxnet serve does not start: {errors.read()[-2000:]}")
            yield Running(said[1].split()[-1], psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait()


def scan_file(folder: Path, index: int, spacing: float) -> Path:
    """A phantom's scan as a file."""
    path = folder / f"scan{index}.nii.gz"
    nifti.write(path, make_subject(index, seed=2, spacing=spacing)[0])
    return path


def in_process(path: Path, predictor: Predictor, out: Path) -> np.ndarray:
    """What the gateway does with a scan: read, segmented, the mask written; the mask."""
    done = segment(nifti.read(path), predictor)
    nifti.write(out, done.mask)
    return done.mask.data


def post(client: httpx.Client, path: Path) -> httpx.Response:
    """Sends a scan until there is a place for it."""
    while True:
        response = client.post("/segment", content=path.read_bytes())
        if response.status_code not in (429, 503):
            return response.raise_for_status()
        time.sleep(min(float(response.headers["retry-after"]), 2.0))


def mask_of(response: httpx.Response) -> np.ndarray:
    """The mask in an answer."""
    return np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(response.content)).dataobj)


def gateway(models: Path, spacing: float, rounds: int) -> None:
    """Prints a scan's time through the gateway and in this process; they take turns."""
    with tempfile.TemporaryDirectory() as work, serving(models) as server:
        path, predictor = scan_file(Path(work), 0, spacing), open_models(models)
        client = httpx.Client(base_url=server.url, timeout=600, trust_env=False)
        expected = in_process(path, predictor, Path(work) / "mask.nii.gz")  # both warm
        same = np.array_equal(mask_of(post(client, path)), expected)
        seconds: dict[str, list[float]] = {"gateway": [], "in process": []}
        for _ in range(rounds):
            start = time.perf_counter()
            post(client, path)
            seconds["gateway"].append(time.perf_counter() - start)
            start = time.perf_counter()
            in_process(path, predictor, Path(work) / "mask.nii.gz")
            seconds["in process"].append(time.perf_counter() - start)
    least = {name: min(some) for name, some in seconds.items()}
    ratio = least["gateway"] / least["in process"]
    print(
        f"one scan: gateway {least['gateway']:.2f} s, in process {least['in process']:.2f} s: {ratio:.3f} times "
        f"(goal: below {GOAL}); {'the same mask' if same else 'ANOTHER MASK'}"
    )


class Peak:
    """The most memory that a server had while it was watched."""

    def __init__(self, server: Running):
        self.server, self.bytes, self._end = server, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.05):
            self.bytes = max(self.bytes, self.server.memory())


def load(models: Path, spacing: float, requests: int, clients: int) -> None:
    """Prints how many requests of how many clients came back, with which masks, how soon, in how much memory."""
    with tempfile.TemporaryDirectory() as work, serving(models) as server:
        paths = [scan_file(Path(work), index, spacing) for index in range(5)]
        predictor = open_models(models)
        expected = [in_process(path, predictor, Path(work) / "mask.nii.gz") for path in paths]
        client = httpx.Client(base_url=server.url, timeout=600, trust_env=False)
        with Peak(server) as alone:
            for path in paths:
                post(client, path)

        def one(number: int) -> tuple[float, bool]:
            start = time.perf_counter()
            response = post(client, paths[number % len(paths)])
            right = np.array_equal(mask_of(response), expected[number % len(paths)])
            return time.perf_counter() - start, right

        with Peak(server) as busy, ThreadPoolExecutor(clients) as pool:
            answers = list(pool.map(one, range(requests)))
    seconds = np.array([took for took, _ in answers])
    p50, p95 = np.percentile(seconds, (50, 95))
    print(
        f"{requests} scans from {clients} clients: {len(answers)} answered, {sum(not r for _, r in answers)} wrong; "
        f"p50 {p50:.2f} s, p95 {p95:.2f} s; memory at most {busy.bytes / 1e9:.2f} GB, one scan after the other "
        f"{alone.bytes / 1e9:.2f} GB"
    )
