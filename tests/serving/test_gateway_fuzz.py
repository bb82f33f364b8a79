"""Mutated scans through the upload: never a 500, nothing left behind, memory bounded."""

import asyncio
import gzip
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from serving.http_guard import Guard
from tests.serving.conftest import ASYMMETRIC, Spy
from tests.serving.gateway_tools import InProcessModels, nifti_bytes, running

ROOT = Path(__file__).parents[2]
ALLOWED = {200, 202, 400, 413, 422}
INTERESTING = (0, 1, 2, 3, 4, 7, 8, 127, 128, 255)
FIELDS = {
    348: (0, 40, 42, 44, 46, 48, 70, 72, 76, 80, 84, 88, 108, 112, 116, 252, 254, 256, 280, 296, 312, 344),
    540: (0, 4, 12, 14, 16, 24, 32, 40, 48, 104, 112, 168, 176, 184, 344, 348, 352, 400, 432, 464),
}


def mutated(rng, bases):
    """A scan's file with a few bytes, fields or pieces of its header changed, packed or not, whole or not."""
    raw = bytearray(rng.choice(bases))
    size = int.from_bytes(raw[:4], "little")
    places = FIELDS[size]
    for _ in range(rng.randint(1, 4)):
        place = rng.choice(places) if rng.random() < 0.7 else rng.randrange(size + 4)
        kind = rng.random()
        if kind < 0.4:
            raw[place + rng.randrange(4)] = rng.choice(INTERESTING)
        elif kind < 0.7:
            raw[place : place + 4] = rng.randbytes(4)
        elif kind < 0.85:
            raw[place : place + 2] = rng.choice((-1, 0, 1, 300, 32767, -32768)).to_bytes(
                2, "little", signed=True
            )
        else:
            raw[place : place + 4] = np.float32(rng.choice((np.nan, np.inf, -np.inf, 1e38, -0.0))).tobytes()
    if rng.random() < 0.1:
        raw = raw[: rng.randrange(len(raw))]
    if rng.random() < 0.5:
        return bytes(raw)
    packed = bytearray(gzip.compress(bytes(raw), 1))
    if rng.random() < 0.15 and packed:
        packed[rng.randrange(len(packed))] ^= 1 << rng.randrange(8)
    return bytes(packed)


def bases():
    import nibabel as nib

    data = np.random.default_rng(0).uniform(1, 1000, ASYMMETRIC.shape)
    return [
        nifti_bytes(data.astype(kind), ASYMMETRIC.matrix, packed=False, kind=image)
        for kind in (np.float32, np.int16)
        for image in (nib.Nifti1Image, nib.Nifti2Image)
    ]


def quick(monkeypatch):
    """The check of the place in MNI space has tests of its own; here it would take all the time."""
    from lesions.mni import MniCheck
    from serving import segmenter

    monkeypatch.setattr(segmenter, "mni_check", lambda volume: MniCheck(1.0, 1.0, 0.0))


def fuzz(tmp_path, count, seed):
    """(how often each status came, statuses that are none of ours with what was sent)."""
    rng, seen, wrong = random.Random(seed), {}, []
    start = bases()

    async def work():
        async with running(InProcessModels(Spy()), tmp_path, guard=Guard()) as (_, client):
            for _ in range(count):
                content = mutated(rng, start)
                form = rng.random() < 0.1
                sent = {"files": {"file": content}} if form else {"content": content}
                answer = await client.post("/segment?output=summary", **sent)
                seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
                if answer.status_code not in ALLOWED:
                    wrong.append((answer.status_code, answer.text, content[:560]))
            assert not list((tmp_path / "work").iterdir())

    asyncio.run(work())
    return seen, wrong


def test_a_thousand_mutated_scans(tmp_path, monkeypatch):
    quick(monkeypatch)
    seen, wrong = fuzz(tmp_path, 1000, seed=1)
    assert not wrong
    assert seen[200] > 50
    assert seen[400] > 100
    assert seen[422] > 50


@pytest.mark.slow
def test_ten_thousand_mutated_scans_in_little_memory(tmp_path):
    """In a process of its own, which may not have more than it needs; no file stays open."""
    code = """
import os, resource, sys
from pathlib import Path
import pytest
from tests.serving.test_gateway_fuzz import fuzz, quick
with pytest.MonkeyPatch.context() as patch:
    quick(patch)
    fuzz(Path(sys.argv[1]), 50, 0)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (512 << 20), used + (512 << 20)))
    files = len(os.listdir("/proc/self/fd"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen, wrong = fuzz(Path(sys.argv[1]), 10_000, 2)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(seen, grown, len(os.listdir("/proc/self/fd")) - files)
    assert not wrong, wrong[:3]
    assert grown < 200 << 10, grown
    assert len(os.listdir("/proc/self/fd")) <= files + 4
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
