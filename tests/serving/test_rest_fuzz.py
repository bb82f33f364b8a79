"""Mutated predict requests: never a 500, nothing left behind, and the process with the models lives."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.rest_fuzz import complaint, fuzz, mutated
from tests.serving.server import Server, save_zoo

ROOT = Path(__file__).parents[2]


def test_a_thousand_mutated_requests(tmp_path):
    seen, wrong = fuzz(tmp_path, 1000, seed=1)
    assert not wrong, wrong[:3]
    assert seen[200] > 100
    assert seen[400] > 300


@pytest.mark.slow
def test_ten_thousand_mutated_requests_in_little_memory(tmp_path):
    """In a process of its own, which may not have more than it needs; no file stays open."""
    code = """
import os, resource, sys
from pathlib import Path
from tests.serving.rest_fuzz import fuzz
folder = Path(sys.argv[1])
fuzz(folder, 1000, 0)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (512 << 20), used + (512 << 20)))
files = len(os.listdir("/proc/self/fd"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
seen, wrong = fuzz(folder, 10_000, 2)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(seen, grown, len(os.listdir("/proc/self/fd")) - files)
assert not wrong, wrong[:3]
assert grown < 64 << 10, grown
assert len(os.listdir("/proc/self/fd")) <= files
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    print(done.stdout)


def test_hundreds_over_a_socket_and_tensorflow_lives(tmp_path):
    save_zoo(tmp_path / "zoo/7")
    server, rng, seen = Server(tmp_path, "--max-body", "1"), random.Random(3), {}
    worker = server.worker()
    for _ in range(300):
        path, body, headers = mutated(rng)
        answer = server.client.post(path, content=body, headers=headers)
        seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
        assert complaint(answer) is None, (path, headers, body[:500])
    assert seen[200] > 40
    assert seen[400] > 90
    assert server.worker() == worker
    status, errors = server.stop()
    assert status == 0
    assert "Traceback" not in errors
