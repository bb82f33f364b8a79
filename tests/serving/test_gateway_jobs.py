"""Jobs: submit, poll, fetch, cancel; they expire; gateways that share a folder finish each other's."""

import asyncio
import json
import os
import stat
import threading
import time

import numpy as np
import pytest

from lesions.errors import WorkError
from serving.gateway import runner
from serving.gateway.claims import Claim, Claims
from serving.gateway.jobs import JobStore
from serving.gateway.options import Options
from serving.rest_client import NotReadyError
from tests.serving.conftest import ASYMMETRIC, Spy, formula
from tests.serving.gateway_tools import InProcessModels, finished, image_of, nifti_bytes, running, until

FILES = ("mask.nii.gz", "probability.nii.gz", "planes.zip", "summary.json")


class Gate:
    """A predictor that waits until it is let go."""

    def __init__(self):
        self.open, self.asked = threading.Event(), threading.Event()

    def __call__(self, plane, slices):
        self.asked.set()
        assert self.open.wait(60)
        return formula(plane, slices)


@pytest.fixture
def gate():
    one = Gate()
    yield one
    one.open.set()


def test_a_job_from_end_to_end(tmp_path, body):
    async def work():
        async with running(InProcessModels(Spy()), tmp_path) as (_, client):
            sent = await client.post("/jobs", content=body, params={"threshold": "0.4"})
            assert sent.status_code == 202
            assert sent.headers["location"] == f"/jobs/{sent.json()['id']}"
            assert set(sent.json()) == {
                *("id", "state", "progress", "created", "expires", "error", "warnings", "summary"),
                *("results", "options"),
            }
            assert (sent.json()["state"], sent.json()["results"]) == ("queued", {})
            job = await finished(client, sent.headers["location"])
            assert job["state"] == "done", job
            assert job["expires"] > job["created"]
            assert job["summary"]["options"]["threshold"] == 0.4
            assert job["warnings"] == job["summary"]["warnings"]
            assert {where.rsplit("/", 1)[1] for where in job["results"].values()} == set(FILES)
            for where in job["results"].values():
                answer = await client.get(where)
                assert answer.status_code == 200
                assert answer.headers["x-model-versions"] == "axial=1,sagittal=1,coronal=1"
                assert "content-encoding" not in answer.headers
            mask = await client.get(job["results"]["mask"])
            direct = await client.post("/segment", content=body, params={"threshold": "0.4"})
            assert image_of(mask.content).shape == ASYMMETRIC.shape
            np.testing.assert_array_equal(
                image_of(mask.content).get_fdata(), image_of(direct.content).get_fdata()
            )
            assert (await client.delete(sent.headers["location"])).status_code == 204
            assert (await client.get(sent.headers["location"])).status_code == 404
            assert not [path for path in (tmp_path / "jobs").iterdir() if path.name[0] != "."]

    asyncio.run(work())


def test_what_is_kept_of_a_job_is_private_and_the_scan_goes_first(tmp_path, body):
    async def work():
        async with running(InProcessModels(Spy()), tmp_path) as (_, client):
            where = (await client.post("/jobs", content=body)).headers["location"]
            await finished(client, where)
            (folder,) = [path for path in (tmp_path / "jobs").iterdir() if path.name[0] != "."]
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert {path.name for path in folder.iterdir()} == {"job.json", "claim-1", "out-1"}

    asyncio.run(work())


def test_progress_is_told(tmp_path, body, gate):
    async def work():
        async with running(InProcessModels(Spy(answer=gate)), tmp_path) as (_, client):
            where = (await client.post("/jobs", content=body)).headers["location"]
            await until(gate.asked.is_set)
            job = (await client.get(where)).json()
            assert job["state"] == "running"
            assert (await client.get(where + "/mask.nii.gz")).status_code == 404
            gate.open.set()
            assert (await finished(client, where))["progress"]["stage"] == "writing"

    asyncio.run(work())


def test_only_so_many_jobs_wait(tmp_path, body, gate):
    async def work():
        async with running(InProcessModels(Spy(answer=gate)), tmp_path, queue=2) as (_, client):
            first = (await client.post("/jobs", content=body)).headers["location"]
            await until(gate.asked.is_set)
            others = [await client.post("/jobs", content=body) for _ in range(3)]
            assert [answer.status_code for answer in others] == [202, 202, 429]
            assert int(others[2].headers["retry-after"]) > 0
            gate.open.set()
            for where in (first, *(answer.headers["location"] for answer in others[:2])):
                assert (await finished(client, where))["state"] == "done"

    asyncio.run(work())


def test_results_expire(tmp_path, body):
    async def work():
        async with running(InProcessModels(Spy()), tmp_path, keep=1.0) as (_, client):
            where = (await client.post("/jobs", content=body)).headers["location"]
            assert (await finished(client, where))["state"] == "done"
            await until(lambda: not [p for p in (tmp_path / "jobs").iterdir() if p.name[0] != "."])
            await asyncio.sleep(1)
            gone = await client.get(where)
            assert gone.status_code == 410
            assert "limited time" in gone.json()["error"]

    asyncio.run(work())


def test_cancelling_a_running_and_a_waiting_job(tmp_path, body, gate):
    async def work():
        async with running(InProcessModels(Spy(answer=gate)), tmp_path) as (_, client):
            ran = (await client.post("/jobs", content=body)).headers["location"]
            await until(gate.asked.is_set)
            waited = (await client.post("/jobs", content=body)).headers["location"]
            for where in (waited, ran):
                assert (await client.delete(where)).status_code == 204
                assert (await client.get(where)).json()["state"] == "cancelled"
                assert (await client.get(where + "/mask.nii.gz")).status_code == 404
            gate.open.set()
            folders = [path for path in (tmp_path / "jobs").iterdir() if path.name[0] != "."]
            await until(lambda: not any((folder / "scan.nii.gz").exists() for folder in folders))
            assert (await client.get(ran)).json()["state"] == "cancelled"
            fresh = (await client.post("/jobs", content=body)).headers["location"]
            assert (await finished(client, fresh))["state"] == "done"

    asyncio.run(work())


@pytest.mark.parametrize("name", ["x", "0" * 31, "0" * 33, "%2e%2e", "..%2f..%2fetc", "A" * 32])
def test_names_that_are_none_of_ours(tmp_path, name):
    async def work():
        async with running(InProcessModels(Spy()), tmp_path) as (_, client):
            for path in (f"/jobs/{name}", f"/jobs/{name}/mask.nii.gz", f"/jobs/{'0' * 32}/..%2fjob.json"):
                answer = await client.get(path)
                assert answer.status_code in (404, 410), path
                assert answer.json()["error"]

    asyncio.run(work())


def test_files_of_a_job_that_are_not_its_results(tmp_path, body):
    async def work():
        async with running(InProcessModels(Spy()), tmp_path) as (_, client):
            where = (await client.post("/jobs", content=body)).headers["location"]
            await finished(client, where)
            for name in ("job.json", "claim-1", "out-1", "scan.nii.gz", "..%2Fjob.json"):
                assert (await client.get(f"{where}/{name}")).status_code == 404

    asyncio.run(work())


def test_a_scan_that_cannot_be_used_fails_with_a_sentence(tmp_path):
    async def work():
        async with running(InProcessModels(Spy()), tmp_path) as (_, client):
            flat = nifti_bytes(np.ones(ASYMMETRIC.shape, np.float32), ASYMMETRIC.matrix)
            job = await finished(client, (await client.post("/jobs", content=flat)).headers["location"])
            assert (job["state"], job["results"]) == ("failed", {})
            assert "no image in it" in job["error"]
            assert str(tmp_path) not in job["error"]

    asyncio.run(work())


def test_models_that_fail_fail_the_job_and_models_that_are_not_there_are_waited_for(
    tmp_path, body, monkeypatch
):
    monkeypatch.setattr(runner, "LOOK_SECONDS", 0.05)

    async def work():
        models = InProcessModels(Spy())
        async with running(models, tmp_path) as (_, client):
            models.failures = [WorkError("axial 1: broken")]
            job = await finished(client, (await client.post("/jobs", content=body)).headers["location"])
            assert (job["state"], job["error"]) == ("failed", "axial 1: broken")
            models.failures = [NotReadyError("not there")] * 3
            job = await finished(client, (await client.post("/jobs", content=body)).headers["location"])
            assert job["state"] == "done"
            assert models.failures == []

    asyncio.run(work())


def test_a_defect_fails_its_job_and_no_other(tmp_path, body, monkeypatch):
    async def work():
        models = InProcessModels(Spy())
        async with running(models, tmp_path) as (gateway, client):
            for broken, times in ((gateway.workplace, "do"), (gateway.runner, "_attempt")):
                monkeypatch.setattr(broken, times, lambda *_: 1 / 0)
                where = (await client.post("/jobs", content=body)).headers["location"]
                if broken is gateway.workplace:
                    job = await finished(client, where)
                    assert (job["state"], "Internal error" in job["error"]) == ("failed", True)
                else:
                    await asyncio.sleep(0.5)
                monkeypatch.undo()
            where = (await client.post("/jobs", content=body)).headers["location"]
            assert (await finished(client, where))["state"] == "done"

    asyncio.run(work())


def put(store, body):
    folder = store.new()
    (folder / "scan.nii.gz").write_bytes(body)
    return store.publish(folder, folder / "scan.nii.gz", Options())


def test_a_claim_is_one_gateways_alone(tmp_path, body, monkeypatch):
    stores = [JobStore(tmp_path, stale=0.2) for _ in range(8)]
    name = put(stores[0], body)
    found, start = [], threading.Barrier(len(stores))

    touched = Claims._touched

    def together(self, name):
        seen = touched(self, name)
        start.wait(30)  # all of them see the job free before one claims it
        return seen

    def take(store):
        found.append(store.claim())

    monkeypatch.setattr(Claims, "_touched", together)

    for round_number in range(1, 3):  # a free job, then one whose gateway died
        found.clear()
        threads = [threading.Thread(target=take, args=(store,)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (claim,) = [claim for claim in found if claim]
        assert (claim.name, claim.number) == (name, round_number)
        time.sleep(0.3)
    monkeypatch.undo()
    assert not stores[0].holds(Claim(name, 1, 1))  # the first one has lost it
    stores[0].update(Claim(name, 1, 1), state="done")
    assert stores[1].find(name)["state"] == "queued"


def test_what_is_given_back_is_free_at_once_and_costs_no_attempt(tmp_path, body):
    store = JobStore(tmp_path)
    put(store, body)
    for _ in range(5):
        claim = store.claim()
        assert claim.attempts == 1
        assert store.claim() is None
        store.give_back(claim)


def test_another_gateway_takes_up_the_job_of_one_that_died(tmp_path, body):
    store = JobStore(tmp_path / "jobs", stale=1.0)
    (tmp_path / "jobs").mkdir()
    name = put(store, body)
    dead = store.claim()
    store.update(dead, state="running")

    async def work():
        async with running(InProcessModels(Spy()), tmp_path) as (gateway, client):
            gateway.store.claims.stale = 1.0
            gateway.runner.wake()
            job = await finished(client, f"/jobs/{name}")
            assert job["state"] == "done"

    asyncio.run(work())
    assert not store.holds(dead)


def test_a_job_that_its_gateways_die_of_is_failed(tmp_path, body):
    store = JobStore(tmp_path / "jobs", stale=0.0)
    (tmp_path / "jobs").mkdir()
    name = put(store, body)
    for _ in range(3):
        assert store.claim()

    async def work():
        async with running(InProcessModels(Spy()), tmp_path) as (gateway, client):
            gateway.store.claims.stale = 0.0
            gateway.runner.wake()
            job = await finished(client, f"/jobs/{name}")
            assert job["state"] == "failed"
            assert "3 gateways ended" in job["error"]

    asyncio.run(work())


def test_a_gateway_that_leaves_finishes_its_job_and_leaves_the_others(tmp_path, body, gate):
    names = []

    async def first():
        async with running(InProcessModels(Spy(answer=gate)), tmp_path) as (_, client):
            names.append((await client.post("/jobs", content=body)).json()["id"])
            await until(gate.asked.is_set)
            names.append((await client.post("/jobs", content=body)).json()["id"])
            asyncio.get_running_loop().call_later(0.3, gate.open.set)

    asyncio.run(first())
    store = JobStore(tmp_path / "jobs")
    assert [store.find(name)["state"] for name in names] == ["done", "queued"]


def test_a_job_that_does_not_come_to_its_end_goes_back(tmp_path, body, gate, monkeypatch):
    monkeypatch.setattr(runner, "DRAIN_SECONDS", 0.2)
    names = []

    async def first():
        async with running(InProcessModels(Spy(answer=gate)), tmp_path) as (_, client):
            names.append((await client.post("/jobs", content=body)).json()["id"])
            await until(gate.asked.is_set)
            asyncio.get_running_loop().call_later(1.0, gate.open.set)

    async def second():
        async with running(InProcessModels(Spy()), tmp_path) as (_, client):
            assert (await finished(client, f"/jobs/{names[0]}"))["state"] == "done"

    asyncio.run(first())
    assert JobStore(tmp_path / "jobs").find(names[0])["state"] == "queued"
    asyncio.run(second())


def test_the_sweep_takes_what_others_left(tmp_path):
    store = JobStore(tmp_path)
    left, fresh = store.new(), store.new()
    os.utime(left, (0, 0))
    (tmp_path / ".gone-x").mkdir()
    (tmp_path / ("f" * 32)).mkdir()
    (tmp_path / ("f" * 32) / "job.json").write_text("half")
    store.sweep()
    assert not left.exists()
    assert fresh.exists()
    assert not (tmp_path / ".gone-x").exists()
    assert store.waiting() == 0
    assert json.dumps(list(store._all())) == "[]"
