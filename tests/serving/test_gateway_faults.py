"""`raxnet serve --server URL` as a process before a model server that fails in every way, and clients that do."""

import base64
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lesions.grid import Grid
from pipeline.cli import main
from serving import slow_clients
from tests.serving.conftest import ASYMMETRIC
from tests.serving.fake_models import FakeModels
from tests.serving.gateway_tools import error_of, image_of, nifti_bytes
from tests.serving.server import Gateway

LARGE = Grid.of((64, 80, 72), np.diag([1.0, 1.0, 1.0, 1.0]))


@pytest.fixture(scope="module")
def fake():
    one = FakeModels()
    yield one
    one.close()


@pytest.fixture(autouse=True)
def healthy(fake):
    fake.versions = {plane: [3] for plane in fake.versions}
    fake.ready, fake.seconds, fake.trouble = True, 0.0, lambda plane, version: None
    fake.asked.clear()


@pytest.fixture(scope="module")
def gateway(fake, tmp_path_factory):
    temporary = tmp_path_factory.mktemp("scratch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))
        one = Gateway("--queue", "2", server=fake.url)
    one.temporary = temporary
    yield one
    status, errors = one.stop()
    assert status == 0, errors
    assert "Traceback" not in errors, errors
    assert "defect" not in errors, errors
    assert not list(temporary.iterdir())


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return found


def left_over(gateway):
    """Files of requests that the gateway is working on, in its folder; of jobs, results are kept."""
    walked = os.walk(gateway.temporary)  # passes over folders that go meanwhile
    found = [Path(folder, name) for folder, _, names in walked for name in names]
    return [path for path in found if "jobs" not in path.parts]


def test_sixteen_slices_a_request_of_one_release(gateway, fake, body):
    assert gateway.greeting.startswith("gateway at http://127.0.0.1:")
    answer = gateway.client.post("/segment", content=body)
    assert answer.headers["x-model-versions"] == "axial=3,sagittal=3,coronal=3"
    assert [asked for asked in fake.asked if asked[2] > 16] == []
    assert sum(count for _, _, count in fake.asked) == sum(ASYMMETRIC.shape)
    until(lambda: not left_over(gateway), 5)


def test_a_version_that_is_swapped_in_mid_volume_is_not_mixed_in(gateway, fake, body):
    def swap(plane, version):
        if plane == "coronal":
            fake.versions = {name: [4] for name in fake.versions}  # and version 3 is gone
            fake.trouble = lambda plane, version: None
            return 404, {"error": "Servable not found for request: Specific(coronal, 3)"}
        return None

    fake.trouble = swap
    answer = gateway.client.post("/segment", content=body)
    assert answer.headers["x-model-versions"] == "axial=4,sagittal=4,coronal=4"
    assert [version for plane, version, _ in fake.asked if plane == "axial"] == [3, 4]

    def pushed(plane, version):
        fake.versions["coronal"] = [4, 5]  # the pinned one stays
        return

    fake.asked.clear()
    fake.trouble = pushed
    answer = gateway.client.post("/segment", content=body)
    assert answer.headers["x-model-versions"] == "axial=4,sagittal=4,coronal=4"
    assert {version for _, version, _ in fake.asked} == {4}


def wrong_shape(plane, version):
    return 200, {"predictions": [{"b64": base64.b64encode(bytes(8)).decode()}] * 14}


def not_a_number(plane, version):
    bad = np.full((12, 14), np.nan, np.float32).tobytes()
    return 200, {"predictions": [{"b64": base64.b64encode(bad).decode()}] * 10}


@pytest.mark.parametrize(
    ("trouble", "status", "error"),
    [
        (lambda plane, version: (500, {"error": "died of this request twice"}), 502, "twice"),
        (lambda plane, version: (400, {"error": "no"}), 502, "HTTP 400: no"),
        (lambda plane, version: (200, {"predictions": []}), 502, "no probability for each"),
        (lambda plane, version: (200, b"<html>"), 502, "no answer of TensorFlow Serving"),
        (lambda plane, version: (401, {"error": "who"}), 502, "access refused"),
        (lambda plane, version: (302, {"error": "elsewhere"}), 502, "HTTP 302"),
        (wrong_shape, 502, "no probability for each"),
        (not_a_number, 502, "no probability for each"),
    ],
)
def test_models_that_fail_are_not_the_scans_fault(gateway, fake, body, trouble, status, error):
    fake.trouble = trouble
    message = error_of(gateway.client.post("/segment", content=body), status)
    assert error in message
    assert fake.url not in message  # a caller need not know where the models are
    until(lambda: not left_over(gateway), 5)


def test_models_that_are_not_ready(gateway, fake, body):
    fake.ready = False
    answer = gateway.client.post("/segment", content=body)
    assert "not ready" in error_of(answer, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert error_of(gateway.client.get("/readyz"), 503)
    assert gateway.client.get("/healthz").status_code == 200
    job = gateway.client.post("/jobs", content=body).headers["location"]
    until(lambda: gateway.client.get(job).json()["progress"]["stage"] == "waiting for the models")
    fake.ready = True
    until(lambda: gateway.client.get(job).json()["state"] == "done")
    assert gateway.client.get("/readyz").json()["versions"]["axial"] == "3"


def test_one_503_in_mid_volume_is_asked_again_and_a_longer_one_is_waited_for(gateway, fake, body):
    times = {"left": 1}

    def busy(plane, version):
        if plane != "coronal" or not times["left"]:
            return None
        times["left"] -= 1
        return 503, {"error": "starting"}

    fake.trouble = busy
    assert gateway.client.post("/segment", content=body).status_code == 200
    assert [plane for plane, _, _ in fake.asked] == ["axial", "sagittal", "coronal", "coronal"]
    times["left"] = 2
    fake.asked.clear()
    assert gateway.client.post("/segment", content=body).status_code == 200
    assert [plane for plane, _, _ in fake.asked].count("axial") == 2  # from the beginning
    times["left"] = 99
    assert "starting" in error_of(gateway.client.post("/segment", content=body), 503)


def test_a_model_server_that_is_gone(body):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    one = Gateway(server=url)
    try:
        assert "cannot be reached" in error_of(one.client.post("/segment", content=body), 503)
        assert error_of(one.client.get("/readyz"), 503)
        assert one.client.get("/healthz").status_code == 200
    finally:
        assert one.stop()[0] == 0


def send_raw(gateway, data):
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
    connection.sendall(data)
    return connection


def head(size):
    return f"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode()


def test_a_client_that_goes_away_frees_its_place(gateway, fake, body):
    fake.seconds = 0.5
    with send_raw(gateway, head(len(body)) + body):
        until(lambda: fake.asked)
    until(lambda: "running 0.0" in gateway.client.get("/metrics").text, 10)
    assert len(fake.asked) < 3  # the other planes were not asked
    with send_raw(gateway, head(len(body)) + body[:-5]):
        until(lambda: left_over(gateway))
    until(lambda: not left_over(gateway), 10)


def test_a_waiting_client_that_goes_away_gives_its_place_in_the_queue_back(gateway, fake, body):
    fake.seconds = 1.0
    first = send_raw(gateway, head(len(body)) + body)
    until(lambda: fake.asked)
    second = send_raw(gateway, head(len(body)) + body)
    until(lambda: "waiting 1.0" in gateway.client.get("/metrics").text)
    second.close()
    until(lambda: "waiting 0.0" in gateway.client.get("/metrics").text, 2)
    assert first.recv(15) == b"HTTP/1.1 200 OK"
    first.close()


def test_many_at_once_are_all_answered_or_told_to_come_back(gateway, fake, body):
    answers = []

    def post():
        answers.append(gateway.client.post("/segment", content=body))

    threads = [threading.Thread(target=post) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {200, 429}
    good = [answer.content for answer in answers if answer.status_code == 200]
    assert len(good) >= 3
    assert len(set(good)) == 1


def bomb(kind):
    """Some MB of gzip that are GB of zeros, after a header of a small or a huge volume."""
    shape = (12, 14, 10) if kind == "small" else (1024, 1024, 600)
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.uint8)
    header["vox_offset"] = 352
    header.set_sform(np.eye(4), 1)
    header["magic"] = b"n+1"
    packer, out = zlib.compressobj(9, zlib.DEFLATED, 31), io.BytesIO()
    out.write(packer.compress(header.binaryblock + bytes(4)))
    for _ in range(600):
        out.write(packer.compress(bytes(1 << 20)))
    out.write(packer.flush())
    return out.getvalue()


@pytest.mark.parametrize(("kind", "status"), [("small", 400), ("huge", 413)])
def test_bombs_take_no_memory(gateway, kind, status):
    content = bomb(kind)
    assert len(content) < 1 << 20
    before = most_memory(gateway)
    start = time.monotonic()
    assert error_of(gateway.client.post("/segment", content=content), status)
    assert most_memory(gateway) - before < 24 << 10
    assert time.monotonic() - start < 30


def most_memory(gateway):
    """The most that the process ever had, kB."""
    lines = Path(f"/proc/{gateway.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@pytest.mark.slow
def test_two_volumes_at_once_do_not_take_twice_the_memory(fake, body):
    fake.grid = LARGE
    data = np.random.default_rng(0).uniform(1, 1000, (160, 160, 160)).astype(np.float32)
    sent = nifti_bytes(data, np.diag([0.5, 0.5, 0.5, 1.0]), packed=False)
    one = Gateway(server=fake.url)
    try:
        base = most_memory(one)
        assert one.client.post("/segment", content=sent).status_code == 200
        single = most_memory(one) - base
        ask = {"target": one.client.post, "args": ["/segment"], "kwargs": {"content": sent}}
        threads = [threading.Thread(**ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert single > data.nbytes >> 10
        assert most_memory(one) - base < 1.5 * single
    finally:
        fake.grid = ASYMMETRIC
        assert one.stop()[0] == 0


def test_uploads_are_private(gateway, fake, body):
    fake.seconds = 0.3
    with send_raw(gateway, head(len(body)) + body) as connection:
        until(lambda: fake.asked)
        (found,) = left_over(gateway)
        assert found.stat().st_mode & 0o777 == 0o600
        assert found.parent.stat().st_mode & 0o777 == 0o700
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
    until(lambda: not left_over(gateway), 10)


def test_sigterm_lets_a_volume_come_to_its_end(fake, body):
    one = Gateway(server=fake.url)
    fake.seconds = 0.7
    answers = []
    asking = threading.Thread(target=lambda: answers.append(one.client.post("/segment", content=body)))
    asking.start()
    until(lambda: fake.asked)
    one.process.send_signal(signal.SIGTERM)
    asking.join(60)
    assert answers[0].status_code == 200
    assert image_of(answers[0].content).shape == ASYMMETRIC.shape
    assert one.process.wait(60) == 0
    assert "Traceback" not in one.log()


@pytest.mark.slow
@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGKILL])
def test_gateways_that_share_a_folder_finish_each_others_jobs(fake, body, tmp_path, way, monkeypatch):
    fake.seconds = 0.3
    jobs = ("--jobs", str(tmp_path / "jobs"))
    first, second = Gateway(*jobs, server=fake.url), None
    try:
        places = [first.client.post("/jobs", content=body).headers["location"] for _ in range(3)]
        until(lambda: fake.asked)
        first.process.send_signal(way)
        status = first.process.wait(60)
        assert status == (0 if way == signal.SIGTERM else -signal.SIGKILL)
        for claim in (tmp_path / "jobs").glob("*/claim-1"):  # half a minute later
            if way == signal.SIGKILL:
                os.utime(claim, (time.time() - 60, time.time() - 60))
        second = Gateway(*jobs, server=fake.url)
        for place in places:
            until(lambda place=place: second.client.get(place).json()["state"] == "done")
            assert image_of(second.client.get(place + "/mask.nii.gz").content).shape == ASYMMETRIC.shape
    finally:
        assert second is None or second.stop()[0] == 0


@pytest.mark.slow
def test_the_token_of_the_model_server_is_its_own(fake, body, monkeypatch):
    monkeypatch.setenv("RAXNET_SERVER_TOKEN", "inner")
    seen = []
    original = FakeModels.answer
    monkeypatch.setattr(FakeModels, "answer", lambda self, *given: seen.append(1) or original(self, *given))
    one = Gateway(server=fake.url, token="outer")
    try:
        assert one.client.post("/segment", content=body).status_code == 401
        headers = {"Authorization": "Bearer outer"}
        assert one.client.post("/segment", content=body, headers=headers).status_code == 200
        assert seen
    finally:
        assert one.stop()[0] == 0


@pytest.mark.slow
def test_slow_headers_are_cut_off_and_others_answered(gateway, body):
    """Connections that send a header letter by letter, or nothing at all."""
    slow = [send_raw(gateway, b"POST /segment HTTP/1.1\r\nHost: localhost\r\nX-Slow: ") for _ in range(20)]
    silent = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(20)]
    start = time.monotonic()
    assert gateway.client.post("/segment", content=body).status_code == 200

    def closed(connection):
        try:
            connection.sendall(b"x")
            connection.settimeout(0.05)
            return connection.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    until(lambda: all(closed(one) for one in slow), slow_clients.HEADER_SECONDS + 20)
    assert time.monotonic() - start > slow_clients.HEADER_SECONDS / 2
    for connection in silent:
        connection.settimeout(30)
        assert connection.recv(1) == b""
    assert gateway.client.post("/segment", content=body).status_code == 200


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not here")
def test_curl(gateway, tmp_path, body):
    (tmp_path / "scan.nii.gz").write_bytes(body)
    done = subprocess.run(
        [
            "curl",
            "-sSf",
            "--data-binary",
            f"@{tmp_path}/scan.nii.gz",
            f"{gateway.url}/segment?output=summary",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["lesion_count"] > 0
    form = ["-F", f"file=@{tmp_path}/scan.nii.gz", "-F", "rule=majority", "-OJ", f"{gateway.url}/segment"]
    subprocess.run(["curl", "-sSf", *form], check=True, cwd=tmp_path, capture_output=True)
    assert image_of((tmp_path / "mask.nii.gz").read_bytes()).shape == ASYMMETRIC.shape


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], "either a folder of MODELS or --server"),
        (["{here}", "--server", "http://127.0.0.1:1"], "either a folder of MODELS or --server"),
        (["--server", "ftp://x"], "expected http://HOST:PORT"),
        (["--server", "http://127.0.0.1:1", "--port", "70000"], "choose another"),
        (
            ["--server", "http://127.0.0.1:1", "--queue", "0"],
            "--queue: expected a number of 1 or more, found 0",
        ),
        (["--server", "http://127.0.0.1:1", "--port", "0", "--jobs", "/proc/x"], "cannot be used for jobs"),
    ],
)
def test_bad_usage(tmp_path, capsys, words, error):
    assert main.main(["serve", *(word.format(here=tmp_path) for word in words)]) == 2
    assert error in capsys.readouterr().err
