"""The client of a model server gives what the models give in process, and fails as it should."""

import base64
import json
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import nibabel as nib
import numpy as np
import pytest

from lesions import nifti
from lesions.errors import InputError, WorkError
from lesions.grid import Volume, template_grid
from lesions.slices import PLANES, slice_shape
from pipeline.cli import main
from serving import rest_client
from serving.predictor import open_models
from serving.rest_client import open_server
from serving.segmenter import segment
from tests.serving.server import Server

GRID = template_grid(6.0)
SHAPE = slice_shape(GRID.shape, "axial")


@pytest.fixture(scope="module")
def folder(models, tmp_path_factory):
    return shutil.copytree(models, tmp_path_factory.mktemp("served") / "serving_models")


@pytest.fixture(scope="module")
def server(folder):
    one = Server(folder, "--drain", "30")
    yield one
    assert one.stop()[0] == 0


class Road:
    """A real HTTP server between client and model server that counts, and can fail on demand."""

    def __init__(self, target):
        self.asked, self.at_once, self.most, self.failures = [], 0, 0, []
        self.lock, road = threading.Lock(), self
        self.forward = httpx.Client(base_url=target, timeout=60, trust_env=False)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.answer(None)

            def do_POST(self):
                self.answer(self.rfile.read(int(self.headers["Content-Length"])))

            def answer(self, body):
                with road.lock:
                    road.asked.append((self.path, json.loads(body) if body else None))
                    failure = road.failures.pop(0) if road.failures and body else None
                    road.at_once += 1
                    road.most = max(road.most, road.at_once)
                try:
                    if failure == "drop":
                        self.close_connection = True
                        return
                    time.sleep(0.05)
                    status, content = failure or self.forwarded(body)
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(content)))
                    if status == 503:
                        self.send_header("Retry-After", "0.1")
                    self.end_headers()
                    self.wfile.write(content)
                finally:
                    with road.lock:
                        road.at_once -= 1

            def forwarded(self, body):
                response = road.forward.request(self.command, self.path, content=body)
                return response.status_code, response.content

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def road(server):
    one = Road(server.url)
    yield one
    one.http.shutdown()


def slices(count, seed=1):
    return np.random.default_rng(seed).uniform(0, 1500, (count, *SHAPE)).astype(np.float32)


def test_it_says_of_the_models_what_they_say_of_themselves(server, folder):
    remote, local = open_server(server.url), open_models(folder)
    assert remote.planes == local.planes == PLANES
    for plane in PLANES:
        assert remote.card(plane) == local.card(plane)
        assert remote.identity(plane)["version"] == local.identity(plane)["version"]
    assert len({remote.identity(plane)["sha256"] for plane in PLANES}) == 3


@pytest.mark.parametrize("count", [0, 1, 16, 17, 70])
def test_bits_are_those_of_the_models_in_process(server, folder, count):
    answer = open_server(server.url).predict("axial", slices(count))
    assert answer.dtype == np.float32
    np.testing.assert_array_equal(answer, open_models(folder).predict("axial", slices(count)))


def test_a_volume_becomes_the_same_segmentation(server, folder, scan_data):
    volume = Volume(scan_data(GRID.shape), GRID)
    told = []
    remote = segment(volume, open_server(server.url), progress=lambda *done: told.append(done), flip=True)
    local = segment(volume, open_models(folder), flip=True)
    np.testing.assert_array_equal(remote.probability.data, local.probability.data)
    np.testing.assert_array_equal(remote.mask.data, local.mask.data)
    assert local.mask.data.any()
    assert told[-1][0] == told[-1][1] == 2 * sum(GRID.shape)


def test_sixteen_slices_a_request_two_at_a_time_and_one_version(road):
    predictor = open_server(road.url)
    road.asked.clear()
    predictor.predict("axial", slices(100))
    assert sorted(len(body["instances"]) for _, body in road.asked) == [4, *[16] * 6]
    assert {path for path, _ in road.asked} == {"/v1/models/axial/versions/3:predict"}
    assert road.most == 2


def test_a_request_costs_no_more_than_its_bytes_in_base64(road):
    predictor = open_server(road.url)
    road.asked.clear()
    predictor.predict("axial", slices(16))
    (_, body), raw = road.asked[0], slices(16).nbytes
    assert len(json.dumps(body)) < 1.4 * raw


@pytest.mark.parametrize("failure", ["drop", (503, b'{"error": "full"}')])
def test_one_retry_where_the_server_was_not_there_or_not_ready(road, folder, failure, monkeypatch):
    monkeypatch.setattr(rest_client, "PAUSE_SECONDS", 0.1)
    predictor, expected = open_server(road.url), open_models(folder).predict("axial", slices(3))
    road.failures = [failure]
    np.testing.assert_array_equal(predictor.predict("axial", slices(3)), expected)
    road.failures = [failure, failure]
    with pytest.raises(WorkError, match="cannot be reached" if failure == "drop" else "HTTP 503: full"):
        predictor.predict("axial", slices(3))
    assert not road.failures


@pytest.mark.parametrize(
    ("failure", "error", "message"),
    [
        ((500, b'{"error": "broken"}'), WorkError, "HTTP 500: broken"),
        ((400, b'{"error": "no"}'), WorkError, "HTTP 400: no"),
        ((404, b'{"error": "gone"}'), WorkError, "a newer one took its place"),
        ((401, b'{"error": "who"}'), InputError, "set RAXNET_TOKEN"),
        ((200, b"<html>"), InputError, "no answer of TensorFlow Serving"),
        ((200, b"[1]"), InputError, "no answer of TensorFlow Serving"),
        ((302, b"{}"), WorkError, "HTTP 302"),
        ((200, b'{"predictions": []}'), WorkError, "no probability for each of"),
        ((200, b'{"predictions": [{"b64": "AAAA"}]}'), WorkError, "no probability for each of"),
        ((200, b'{"predictions": [1]}'), WorkError, "no probability for each of"),
        ((200, b'{"outputs": 1}'), WorkError, "no probability for each of"),
    ],
)
def test_other_failures_are_told_at_once(road, failure, error, message):
    predictor = open_server(road.url)
    road.asked.clear()
    road.failures = [failure]
    with pytest.raises(error, match=message):
        predictor.predict("axial", slices(1))
    assert len(road.asked) == 1


def test_an_answer_of_nan_is_no_probability(road):
    predictor = open_server(road.url)
    row = base64.b64encode(np.full(SHAPE, np.nan, "<f4").tobytes()).decode()
    road.failures = [(200, json.dumps({"predictions": [{"b64": row}]}).encode())]
    with pytest.raises(WorkError, match="no probability"):
        predictor.predict("axial", slices(1))


def test_slices_of_another_size_are_refused_before_they_are_sent(road):
    predictor = open_server(road.url)
    road.asked.clear()
    with pytest.raises(InputError, match="axial slices: expected"):
        predictor.predict("axial", slices(1)[:, 1:])
    assert not road.asked


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("localhost:8501", InputError, "expected http://HOST:PORT"),
        ("http://127.0.0.1:1", WorkError, "http://127.0.0.1:1: cannot be reached"),
        ("http://[::", InputError, "no address"),
    ],
)
def test_addresses_that_lead_nowhere(url, error, message, monkeypatch):
    monkeypatch.setattr(rest_client, "PAUSE_SECONDS", 0.0)
    with pytest.raises(error, match=message):
        open_server(url)


def test_a_volume_keeps_its_version_while_a_new_one_is_pushed(server, folder, export):
    predictor = open_server(server.url)
    before = predictor.predict("coronal", slices_of("coronal"))
    export(folder / ".staged", "coronal", GRID, share=0.9)
    (folder / ".staged").rename(folder / "coronal/4")
    end = time.monotonic() + 60
    while (newer := predictor.pinned()).identity("coronal")["version"] != "4":
        assert time.monotonic() < end
        time.sleep(0.2)
    np.testing.assert_array_equal(predictor.predict("coronal", slices_of("coronal")), before)
    assert np.abs(newer.predict("coronal", slices_of("coronal")) - before).max() > 0.1


def slices_of(plane):
    return np.full((2, *slice_shape(GRID.shape, plane)), 500, np.float32)


def test_the_command_with_a_server_writes_the_masks_of_the_command_with_models(
    tmp_path, server, folder, scan_data, capsys
):
    nifti.write(tmp_path / "scan.nii.gz", Volume(scan_data(GRID.shape), GRID))
    images = []
    for out, *words in (("local", "--models", str(folder)), ("remote", "--server", server.url)):
        assert (
            main.main(["segment", str(tmp_path / "scan.nii.gz"), str(tmp_path / out), "--json", *words]) == 0
        )
        captured = capsys.readouterr()
        assert ("server: http" in captured.err) is (out == "remote")
        (sidecar,) = json.loads(captured.out)
        images.append(np.asanyarray(nib.load(sidecar["Mask"].replace("_mask", "_probseg")).dataobj))
    np.testing.assert_array_equal(*images)
    again = ["segment", str(tmp_path / "scan.nii.gz"), str(tmp_path / "remote"), "--server", server.url]
    assert main.main(again) == 0
    assert "done before" in capsys.readouterr().out
