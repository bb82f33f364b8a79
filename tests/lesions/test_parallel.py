"""Work over subjects: same results in one process and in several; whoever dies is named."""

import logging

import pytest

from common import machine
from lesions.errors import WorkError
from lesions.parallel import WORKERS, default_workers, map_subjects, usable_workers

pytestmark = pytest.mark.heavy

# `eval` is a function that every process can import; its items are what a worker does.
KILL = "__import__('os').kill(__import__('os').getpid(), 9)"  # as the kernel does when memory runs out
SLEEP = "__import__('time').sleep(0.3) or 7"


def name(item):
    return f"sub-{item[:10]}"


@pytest.mark.parametrize("workers", [1, 2])
def test_results_in_order_and_progress(workers):
    seen = []
    assert map_subjects(eval, [SLEEP, "2", "3"], name, workers, lambda *now: seen.append(now)) == [7, 2, 3]
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_killed_worker_names_its_subject(caplog):
    with (
        caplog.at_level(logging.WARNING, "raxnet"),
        pytest.raises(WorkError, match="sub-__import__: the worker process died"),
    ):
        map_subjects(eval, ["1", "2", KILL, "4"], name, workers=2)
    assert "go on one at a time" in caplog.text


def test_worker_killed_once_costs_only_time(tmp_path):
    flag = tmp_path / "seen"
    once = f"({KILL}) if not __import__('pathlib').Path({str(flag)!r}).exists() and open({str(flag)!r}, 'w') else 5"
    assert map_subjects(eval, ["1", once, "3", "4"], name, workers=2) == [1, 5, 3, 4]


@pytest.mark.parametrize("workers", [1, 2])
def test_no_memory_names_the_subject(workers):
    with pytest.raises(WorkError, match="sub-bytearray: out of memory"):
        map_subjects(eval, ["1", "bytearray(10**17)"], lambda item: f"sub-{item[:9]}", workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_other_errors_pass(workers):
    with pytest.raises(ZeroDivisionError):
        map_subjects(eval, ["1", "1/0", "3"], name, workers)


@pytest.mark.parametrize(
    ("processors", "gigabytes", "workers"),
    [(2, 24, 2), (1, 3, 1), (64, 256, 64), (64, 4, 6), (8, 0.25, 1)],
)
def test_as_many_workers_as_processors_unless_memory_is_too_small(
    monkeypatch, processors, gigabytes, workers
):
    monkeypatch.setattr(machine, "processors", lambda: processors)
    monkeypatch.setattr(machine, "memory_bytes", lambda: int(gigabytes * 1e9))
    monkeypatch.delenv(WORKERS, raising=False)
    assert default_workers() == usable_workers() == workers
    monkeypatch.setenv(WORKERS, "5")
    assert (default_workers(), usable_workers()) == (workers, 5)
