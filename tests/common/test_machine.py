"""Processors and memory as the files of cgroups say, laid out as containers, pods and batch jobs find them."""

import os
from fractions import Fraction
from math import floor
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import machine

GIB = 2**30
V1_UNLIMITED = "9223372036854771712"  # what the kernel says where nobody set a limit
HAS = 32  # processors of the machine that these files come from
V2_MOUNT = (
    "31 23 0:28 {} /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate"
)
V1_CPU = "37 32 0:29 {} /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:11 - cgroup cgroup rw,cpu,cpuacct"
V1_MEMORY = "38 32 0:30 {} /sys/fs/cgroup/memory rw,relatime shared:12 - cgroup cgroup rw,memory"
OTHERS = (
    "23 28 0:21 / /proc rw,relatime - proc proc rw\n"
    "40 32 0:35 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
)
POD = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod4711.slice"
STEP = "/slurm/uid_1000/job_77/step_0/task_0"


def v1(path, mounted="/", **files):
    """Version 1: memberships, mounts and limits, which are named after the folder below the mount."""
    members = f"9:cpuset:{path}\n5:cpu,cpuacct:{path}\n4:memory:{path}\n1:name=systemd:{path}\n0::/unified\n"
    return members, OTHERS + V1_CPU.format(mounted) + "\n" + V1_MEMORY.format(mounted) + "\n", files


def v2(path, mounted="/", **files):
    return f"0::{path}\n", OTHERS + V2_MOUNT.format(mounted) + "\n", files


def v1_limits(quota, memory, folder=""):
    return {
        f"cpu,cpuacct{folder}/cpu.cfs_quota_us": quota,
        f"cpu,cpuacct{folder}/cpu.cfs_period_us": "100000",
        f"memory{folder}/memory.limit_in_bytes": memory,
    }


def v2_limits(quota, memory, folder="", high="max"):
    return {
        f"{folder}/cpu.max": f"{quota} 100000",
        f"{folder}/memory.max": memory,
        f"{folder}/memory.high": high,
    }


LAID_OUT = {
    "docker --cpus 1.5 --memory 3g, version 1": (
        v1("/docker/3f2a", "/docker/3f2a", **v1_limits("150000", str(3 * GIB))),
        (1, 3 * GIB),
    ),
    "docker --cpus 1.5 --memory 3g, version 2": (v2("/", **v2_limits("150000", str(3 * GIB))), (1, 3 * GIB)),
    "docker --cpus 0.2": (v2("/", **v2_limits("20000", "max")), (1, None)),
    "a pod's container, the pod's quota and the node's memory for pods below its own": (
        v2(
            f"{POD}/cri-containerd-0815.scope",
            **v2_limits("max", str(4 * GIB), f"{POD}/cri-containerd-0815.scope"),
            **v2_limits("600000", "max", POD),
            **v2_limits("max", str(2 * GIB), "/kubepods.slice"),
        ),
        (6, 2 * GIB),
    ),
    "a pod's container, version 1, seen from inside": (
        v1("/kubepods/pod4711/0815", "/kubepods/pod4711/0815", **v1_limits("800000", str(5 * GIB))),
        (8, 5 * GIB),
    ),
    "a systemd slice limits its services": (
        v2(
            r"/batch.slice/batch-a\x2db.service",
            **v2_limits("max", "max", r"/batch.slice/batch-a\x2db.service"),
            **v2_limits("350000", str(6 * GIB), "/batch.slice", high=str(GIB)),
        ),
        (3, GIB),
    ),
    "systemd-nspawn, whose scope has a backslash in its name": (
        v1(
            r"/machine.slice/a\x2db.scope/payload",
            r"/machine.slice/a\134x2db.scope",
            **v1_limits("400000", str(GIB), "/payload"),
        ),
        (4, GIB),
    ),
    "a Slurm step, which a cpuset limits": (
        v1(
            STEP,
            **v1_limits("-1", V1_UNLIMITED, STEP),
            **{"memory/slurm/uid_1000/job_77/memory.limit_in_bytes": str(GIB)},
        ),
        (HAS, GIB),
    ),
    "unlimited, version 1": (v1("/user.slice", **v1_limits("-1", V1_UNLIMITED, "/user.slice")), (HAS, None)),
    "unlimited, version 2": (v2("/user.slice", **v2_limits("max", "max", "/user.slice")), (HAS, None)),
    "version 1 for processors, version 2 for memory": (
        (
            "5:cpu,cpuacct:/a\n0::/b\n",
            V1_CPU.format("/") + "\n" + V2_MOUNT.format("/").replace("/cgroup rw", "/cgroup/unified rw"),
            {
                "cpu,cpuacct/a/cpu.cfs_quota_us": "250000",
                "cpu,cpuacct/a/cpu.cfs_period_us": "50000",
                "unified/b/memory.max": str(GIB),
            },
        ),
        (5, GIB),
    ),
    "a process that was moved out of what its container sees": (
        v2("/../elsewhere", **v2_limits("200000", str(GIB))),
        (2, GIB),
    ),
    "what a container sees was mounted for a folder above it": (
        v2("/", "/..", **v2_limits("200000", str(GIB))),
        (2, GIB),
    ),
    "no cgroups, as on macOS": (None, (HAS, None)),
}


def lay_out(root, described):
    if described is None:
        return
    members, mounts, files = described
    texts = {"proc/self/cgroup": members, "proc/self/mountinfo": mounts}
    for name, text in (texts | {f"sys/fs/cgroup/{n}": f"{t}\n" for n, t in files.items()}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def affinity(monkeypatch):
    """Sets on how many processors this process may run."""

    def allow(number):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(number)), raising=False)

    allow(HAS)
    return allow


@pytest.mark.parametrize(("described", "expected"), LAID_OUT.values(), ids=LAID_OUT)
def test_limits_are_found(tmp_path, affinity, described, expected):
    lay_out(tmp_path, described)
    processors, memory = expected
    assert machine.processors(tmp_path) == processors
    assert machine.memory_bytes(tmp_path) == (memory or psutil.virtual_memory().total)


def test_a_cpuset_counts_with_and_without_a_quota(tmp_path, affinity):
    affinity(3)
    assert machine.processors(tmp_path) == 3
    lay_out(tmp_path, v2("/", **v2_limits("600000", "max")))
    assert machine.processors(tmp_path) == 3
    lay_out(tmp_path, v2("/", **v2_limits("200000", "max")))
    assert machine.processors(tmp_path) == 2


def test_where_the_system_knows_no_affinity_all_processors_count(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert machine.processors(tmp_path) == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.processors(tmp_path) == 1


@pytest.mark.parametrize(
    "bad", [b"", b"garbage", b"\xff\xfe\x00", b"0 0", b"100000 0", b"-5 -5", b"1e5 1", b"9" * 5000]
)
@pytest.mark.parametrize("name", ["cpu.max", "memory.max", "memory.high"])
def test_a_damaged_limit_is_none(tmp_path, affinity, name, bad):
    lay_out(tmp_path, v2("/", **v2_limits("max", "max")))
    (tmp_path / "sys/fs/cgroup" / name).write_bytes(bad)
    assert machine.processors(tmp_path) == HAS
    assert machine.memory_bytes(tmp_path) == psutil.virtual_memory().total


@pytest.mark.parametrize(
    "bad", [b"", b"\xff\n", b"0::\n", b":::\n0\n\n", b"1 2 3 - \n", b" - cgroup2\n", b"a\0b - cgroup2 x rw"]
)
@pytest.mark.parametrize("name", ["cgroup", "mountinfo"])
def test_damaged_facts_about_the_process_end_in_no_error(tmp_path, affinity, name, bad):
    lay_out(tmp_path, v2("/docker", **v2_limits("100000", str(GIB), "/docker")))
    (tmp_path / "proc/self" / name).write_bytes(bad)
    assert machine.processors(tmp_path) == HAS
    assert machine.memory_bytes(tmp_path) == psutil.virtual_memory().total


def test_what_cannot_be_read_is_passed_over(tmp_path, affinity):
    lay_out(tmp_path, v2("/a", **v2_limits("200000", str(GIB))))
    (tmp_path / "sys/fs/cgroup/a/cpu.max").mkdir(parents=True)  # reading it fails, also for root
    assert (machine.processors(tmp_path), machine.memory_bytes(tmp_path)) == (2, GIB)
    (tmp_path / "proc/self/mountinfo").unlink()
    assert machine.processors(tmp_path) == HAS


LIMIT = st.none() | st.tuples(st.integers(1, 6_400_000), st.integers(1_000, 1_000_000), st.integers(1, GIB))


def put(root, levels, version):
    """A process in the last of nested cgroups; of each its quota, period and memory, or None."""
    files, folder = {}, ""
    for number, limit in enumerate(levels):
        folder += f"/{number}" if number else ""
        quota, period, memory = limit or (
            (-1, 100_000, V1_UNLIMITED) if version == 1 else ("max", 100_000, "max")
        )
        made = (
            v1_limits(str(quota), str(memory), folder)
            if version == 1
            else v2_limits(quota, str(memory), folder)
        )
        periods = {"cpu.max": f"{quota} {period}", "cpu.cfs_period_us": str(period)}
        files |= {name: periods.get(name.rsplit("/", 1)[1], text) for name, text in made.items()}
    lay_out(root, (v1 if version == 1 else v2)(folder or "/", **files))
    return machine.processors(root), machine.memory_bytes(root)


@settings(max_examples=60)
@given(
    levels=st.lists(LIMIT, min_size=1, max_size=4),
    at=st.integers(0, 3),
    more=LIMIT,
    has=st.integers(1, 128),
    data=st.data(),
)
def test_the_least_limit_counts_and_one_more_raises_nothing(levels, at, more, has, data):
    version = data.draw(st.sampled_from([1, 2]))
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(os, "sched_getaffinity", lambda process: set(range(has)), raising=False)
        processors, memory = put(Path(folder), levels, version)
        quotas = [floor(Fraction(quota, period)) for quota, period, _ in filter(None, levels)]
        assert processors == max(1, min([has, *quotas]))
        assert memory == min([psutil.virtual_memory().total, *(one for _, _, one in filter(None, levels))])
        at = min(at, len(levels) - 1)
        if levels[at] is None:
            further, less = put(Path(folder), [*levels[:at], more, *levels[at + 1 :]], version)
            assert 1 <= further <= processors <= has
            assert less <= memory


def test_threads_are_limited_by_a_quota_alone(tmp_path, affinity, monkeypatch):
    for name in machine.THREADS:
        monkeypatch.setenv(name, "")  # so that it is as it was afterwards, whoever sets it
        monkeypatch.delenv(name)
    affinity(4)
    machine.limit_threads(tmp_path)
    assert not set(machine.THREADS) & set(os.environ)  # results stay what they are, to the last digit
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    lay_out(tmp_path, v2("/", **v2_limits("250000", "max")))
    machine.limit_threads(tmp_path)
    set_to = {name: os.environ[name] for name in machine.THREADS}
    assert set_to == {"TF_NUM_INTRAOP_THREADS": "2", "TF_NUM_INTEROP_THREADS": "2", "OMP_NUM_THREADS": "7"}
