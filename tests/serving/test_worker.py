"""When the process with the models dies: pauses that grow, models loaded again, no request sent a third time."""

import asyncio
from pathlib import Path

import pytest

from serving import worker
from serving.rest_api.errors import RestError
from serving.worker import LONGEST_PAUSE, STEADY_SECONDS, Worker
from serving.worker_child import ChildDiedError


class FakeChild:
    """A process that dies when it starts, or of messages of some kinds; `made` has all of them."""

    made, at_start, of = (), False, ()

    def __init__(self, precision, ended):
        self.asked, self.ended, self.exit_status = [], ended, -9
        FakeChild.made += (self,)

    async def up(self, seconds):
        if FakeChild.at_start:
            raise ChildDiedError

    async def ask(self, message, seconds):
        self.asked.append(message[0])
        await REAL_SLEEP(0)
        if message[0] in FakeChild.of:
            raise ChildDiedError
        return {"y": message}

    def end(self):
        pass


REAL_SLEEP = asyncio.sleep


@pytest.fixture
def pauses(monkeypatch):
    """The pauses that were asked for; none of them is waited for."""
    found = []

    async def sleep(seconds):
        found.append(seconds)
        await REAL_SLEEP(0)

    monkeypatch.setattr(FakeChild, "made", ())
    monkeypatch.setattr(FakeChild, "at_start", False)
    monkeypatch.setattr(FakeChild, "of", ())
    monkeypatch.setattr(worker, "Child", FakeChild)
    monkeypatch.setattr(worker.asyncio, "sleep", sleep)
    return found


async def until(condition):
    for _ in range(1000):
        if condition():
            return
        await REAL_SLEEP(0)
    pytest.fail("it did not happen")


def test_pauses_double_up_to_the_longest(pauses):
    async def work():
        one = Worker()
        await one.start()
        FakeChild.at_start = True
        FakeChild.made[0].ended(FakeChild.made[0])
        await until(lambda: len(pauses) > 8)
        await one.close()

    asyncio.run(work())
    assert pauses[:8] == [0.5, 1, 2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE]


def test_after_a_steady_time_they_begin_anew(pauses, monkeypatch):
    async def work():
        one, now = Worker(), [0.0]
        monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
        await one.start()
        for later in (0, 0, STEADY_SECONDS + 1):
            now[0] += later
            await one.predict("m", 1, "s", {})
            child = FakeChild.made[-1]
            child.ended(child)
            child.ended(child)  # the second word of the same death
            await until(lambda: one.up)
        await one.close()
        assert one.restarts == 3

    asyncio.run(work())
    assert pauses == [0.5, 1, 0.5]


def test_meanwhile_it_is_unavailable_and_then_has_its_models_again(pauses):
    async def work():
        one = Worker()
        await one.start()
        for number in (1, 2, 3):
            await one.load("m", number, Path(f"m/{number}"))
        await one.unload("m", 2)
        FakeChild.made[0].ended(FakeChild.made[0])
        with pytest.raises(RestError) as refused:
            await one.predict("m", 1, "s", {})
        assert refused.value.status == 503
        await until(lambda: one.up)
        assert await one.predict("m", 1, "s", {"x": 1}) == {"y": ("predict", ("m", 1), "s", {"x": 1})}
        await one.close()

    asyncio.run(work())
    assert [child.asked for child in FakeChild.made] == [
        ["load"] * 3 + ["unload"],
        ["load"] * 2 + ["predict"],
    ]


def test_what_it_dies_of_twice_is_not_sent_again(pauses):
    async def work():
        one = Worker()
        await one.start()
        FakeChild.of = ("predict",)
        with pytest.raises(RestError, match="died of this request twice") as failed:
            await one.predict("m", 1, "s", {})
        assert failed.value.status == 500
        FakeChild.of = ()
        await until(lambda: one.up)
        await one.predict("m", 1, "s", {})
        await one.close()

    asyncio.run(work())
    assert [child.asked for child in FakeChild.made] == [["predict"]] * 3
