"""The kernel's own cgroups, and TensorFlow in one: what a process finds when it is really limited."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from common import machine

pytestmark = pytest.mark.heavy

HIERARCHIES = Path("/sys/fs/cgroup")
COUNT = [sys.executable, "-m", "common.machine"]
QUOTA = {"cpu.cfs_quota_us": "150000", "cpu.cfs_period_us": "100000", "cpu.max": "150000 100000"}
LIMIT = {"memory.limit_in_bytes": str(2**30), "memory.max": str(2**30)}
# What a command sets before it imports anything that computes.
SET_BY_A_COMMAND = """
import json, os, sys
from common import machine
from pipeline import console
from pipeline.cli import main
main.parser()
console.quiet()
assert not {"numpy", "tensorflow"} & set(sys.modules)
print(json.dumps([os.environ.get(name) for name in machine.THREADS]))
"""
# TensorFlow as every command imports it; a product of matrices starts its threads.
THREADS_OF_TENSORFLOW = """
from pipeline import console
console.quiet()
import os, tensorflow as tf
tf.linalg.matmul(tf.ones((400, 400)), tf.ones((400, 400)))
print(len(os.listdir("/proc/self/task")))
"""


def cgroup(hierarchy, limits):
    """A cgroup with limits, and one without any within it, into which processes go."""
    outer = hierarchy / f"raxnet-test-{os.getpid()}"
    try:
        (outer / "inner").mkdir(parents=True)
        there = [name for name in limits if (outer / name).exists()]
        for name in there:
            (outer / name).write_text(limits[name])
    except OSError as error:
        remove(outer)
        pytest.skip(f"no cgroup can be made here: {error}")
    if not there:
        remove(outer)
        pytest.skip(f"no {', '.join(limits)} in new cgroups here")
    return outer


def remove(outer):
    for folder in (outer / "inner", outer):
        if folder.exists():
            folder.rmdir()


def hierarchy(controller):
    one = HIERARCHIES / controller
    return one if one.is_dir() else HIERARCHIES  # version 2 has one for all


@pytest.fixture
def quota():
    """A cgroup with one and a half processors."""
    made = cgroup(hierarchy("cpu"), QUOTA)
    yield made / "inner"
    remove(made)


@pytest.fixture
def little_memory():
    """A cgroup with a GiB of memory."""
    made = cgroup(hierarchy("memory"), LIMIT)
    yield made / "inner"
    remove(made)


def start(command, *cgroups):
    """A process that goes into cgroups before it becomes the command."""
    enter = "".join(f"echo $$ > {shlex.quote(str(one))}/cgroup.procs && " for one in cgroups)
    return subprocess.Popen(
        ["sh", "-c", f"{enter}exec {shlex.join(command)}"], stdout=subprocess.PIPE, text=True
    )


def said(process):
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(output.splitlines()[-1])


def test_a_quota_around_the_cgroup_of_a_process(quota):
    assert said(start(COUNT, quota)) == {"processors": 1, "memory_bytes": machine.memory_bytes()}


def test_a_limit_of_memory_around_the_cgroup_of_a_process(little_memory):
    assert said(start(COUNT, little_memory)) == {"processors": machine.processors(), "memory_bytes": 2**30}


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
def test_a_process_on_one_of_the_processors():
    first = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{first}}}); from common import machine; print(machine.processors())"
    assert said(start([sys.executable, "-c", code])) == 1


@pytest.mark.skipif(machine.processors() < 2, reason="one processor: a quota changes nothing")
def test_a_command_says_to_libraries_how_many_processors_its_quota_leaves(quota, monkeypatch):
    for name in machine.THREADS:
        monkeypatch.delenv(name, raising=False)
    command = [sys.executable, "-c", SET_BY_A_COMMAND]
    assert said(start(command, quota)) == ["1", "1", "1"]
    assert said(start(command)) == [None, None, None]


@pytest.mark.slow
@pytest.mark.skipif(machine.processors() < 2, reason="one processor: a quota changes nothing")
def test_tensorflow_starts_fewer_threads_under_a_quota(quota):
    command = [sys.executable, "-c", THREADS_OF_TENSORFLOW]
    free, limited = start(command), start(command, quota)
    assert said(limited) < said(free)
