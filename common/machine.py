"""How many processors and how much memory this process may use: what the machine has, less what is held back.

A container, a pod, a batch job or a systemd unit is a control group (cgroup): a folder of files, within others, each of
which may set a limit. `os.cpu_count()` knows nothing of them, `os.sched_getaffinity()` knows the processors that a
cpuset or `taskset` allows, but no quota, and joblib's `cpu_count()` looks at the uppermost folder alone and rounds up.
`python -m common.machine` prints what is found, as JSON.

Sources, all of them Linux' own pages: cgroups(7) and proc(5) for /proc/self/cgroup and /proc/self/mountinfo;
admin-guide/cgroup-v2.rst for cpu.max, memory.max and memory.high; scheduler/sched-bwc.rst for cpu.cfs_quota_us;
admin-guide/cgroup-v1/memory.rst for memory.limit_in_bytes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")
# Environment variables from which TensorFlow, OpenMP and OpenBLAS take how many threads they start.
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def processors(root: Path = ROOT) -> int:
    """How many processors this process may keep busy, at least 1.

    Those that the scheduler gives it, or fewer where a cgroup has a quota: 1.5 processors are 1, because a second
    thread would mostly wait.

    Args:
        root: Where /proc and the cgroups' file systems are.
    """
    return max(1, min([_schedulable(), *_quotas(root)]))


def memory_bytes(root: Path = ROOT) -> int:
    """Bytes of memory that this process and the others of its cgroups may have: the machine's, or the least limit.

    Limits, not what is free just now: two calls say the same.

    Args:
        root: Where /proc and the cgroups' file systems are.
    """
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([installed, *_memory_limits(root)])


def limit_threads(root: Path = ROOT) -> None:
    """Says to TensorFlow, OpenMP and OpenBLAS how many processors there are; to be called before they are imported.

    They see the processors that the scheduler gives, but no quota: with half a processor of a large machine each would
    start a hundred threads. Nothing is set where there is no quota, nor where the environment has a number already.
    Processes that this one starts inherit it.

    Args:
        root: Where /proc and the cgroups' file systems are.
    """
    usable = processors(root)
    if usable < _schedulable():
        for name in THREADS:
            os.environ.setdefault(name, str(usable))


def _schedulable() -> int:
    """Processors on which the scheduler may run this process: a cpuset's, taskset's, or all."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[int]:
    """Every quota of processor time that holds for this process, in whole processors."""
    for folder in _cgroups(root, "cpu"):
        # Version 2: "150000 100000" or "max 100000".
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if (microseconds := _number(quota)) and (every := _number(period)):
            yield microseconds // every


def _memory_limits(root: Path) -> Iterator[int]:
    """Every limit of memory that holds for this process, in bytes; version 1 has a huge number where there is none."""
    for folder in _cgroups(root, "memory"):
        # Beyond memory.high nobody is killed, but everybody is slowed down.
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            if limit := _number(_text(folder / name)):
                yield limit


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's cgroups that may have a controller, and of all above them, as far as it sees them.

    Where version 1 and 2 are used side by side, either may have the controller: the folders of both are looked at.
    """
    members = dict(_memberships(root, controller))
    for version, within, mounted in _mounts(root, controller):
        if version not in members:
            continue
        top, path = root / mounted.lstrip("/"), members[version]
        # A container often sees its own part of the hierarchy alone, mounted as if that were the whole.
        folder = top / path.relative_to(within) if path.is_relative_to(within) else top
        for one in (folder, *folder.parents):
            yield one
            if one == top:
                break


def _memberships(root: Path, controller: str) -> Iterator[tuple[str, PurePosixPath]]:
    """By version, as the file systems are called, the path of this process's cgroup: 4:memory:/PATH, or 0::/PATH."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield "cgroup2", PurePosixPath(path)
        elif controller in controllers.split(","):
            yield "cgroup", PurePosixPath(path)


def _mounts(root: Path, controller: str) -> Iterator[tuple[str, PurePosixPath, str]]:
    """Version, the cgroup that is mounted and the folder where it is mounted, of each file system of cgroups."""
    for line in _text(root / "proc/self/mountinfo").splitlines():
        where, _, what = line.partition(" - ")
        fields, (version, *options) = where.split(), what.split() or [""]
        if len(fields) < 5 or version not in ("cgroup", "cgroup2"):
            continue
        if version == "cgroup2" or controller in options[-1].split(","):
            yield version, PurePosixPath(_unescaped(fields[3])), _unescaped(fields[4])


def _unescaped(path: str) -> str:
    r"""A path as mountinfo writes it: a backslash, as in systemd's names, is \134."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)


def _number(text: str) -> int:
    """A limit; 0 where there is none ("max", "-1", no file) or where it is no number."""
    try:
        return max(0, int(text))
    except ValueError:
        return 0


def _text(path: Path) -> str:
    """What a file says; nothing where it is missing or cannot be read."""
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""


if __name__ == "__main__":
    print(json.dumps({"processors": processors(), "memory_bytes": memory_bytes()}))
