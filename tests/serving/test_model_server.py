"""`raxnet serve` as a process, asked over a socket: TensorFlow Serving's behavior, and what keeps the server up."""

import base64
import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli import main
from serving.rest_api import DEVIATIONS
from tests.conftest import DATA
from tests.serving.server import Server, save_half_plus_two, save_zoo

HTTP = json.loads((DATA / "tfserving_rest_conformance.json").read_text())["http"]
TWO = "saved_model_half_plus_two_2_versions"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    save_half_plus_two(models / "default/00000123")
    save_half_plus_two(models / TWO / "123")
    save_zoo(models / "zoo/7")
    for version in (1, 2):
        save_half_plus_two(models / f"labeled/{version}", version)
    (models / "releases").mkdir()
    (models / "releases/20260101T000000Z.json").write_text("{}")
    return models


@pytest.fixture(scope="module")
def server(folder):
    labels = ("--label", f"{TWO}/Version_Label=123", "--label", "labeled/old=1")
    one = Server(folder, *labels, "--drain", "1", "--max-body", "2")
    yield one
    status, errors = one.stop()
    assert status == 0, errors
    assert "Traceback" not in errors


def error_of(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()["error"]


def deviation(case):
    path = case["request"]["path"]
    if "18446744073709551615" in path:
        return "version overflow"
    verb = path.rsplit(":", 1)[-1]
    return (
        "classify and regress"
        if case["expected"]["status"] == 200 and verb in ("classify", "regress")
        else None
    )


@pytest.mark.parametrize("case", HTTP, ids=lambda case: case["name"])
def test_exchange_of_the_conformance_file(server, case):
    request, expected = case["request"], case["expected"]
    response = server.client.request(request["method"], request["path"], content=request["body"])
    if why := deviation(case):
        assert DEVIATIONS[why]
        assert error_of(response, 400)
        return
    assert response.status_code == expected["status"]
    assert response.headers["content-type"] == expected["content_type"]
    assert int(response.headers["content-length"]) == len(response.content)
    if "json" in expected:
        assert response.json() == expected["json"]
    if "error_2_16_1" in expected:
        assert response.json()["error"] == expected["error_2_16_1"]


def test_it_says_what_it_serves_and_where(server):
    assert server.greeting.startswith(
        f"serving default 123, labeled 2, {TWO} 123, zoo 7 at http://127.0.0.1:"
    )


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not here")
def test_curl(server):
    body = '{"instances": [1.0, 2.0, NaN]}'
    done = subprocess.run(
        ["curl", "-sS", "-d", body, f"{server.url}/v1/models/default:predict"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == '{\n    "predictions": [2.5, 3.0, NaN\n    ]\n}'


def test_bytes_come_and_go_in_base64(server):
    sent = [bytes(range(256)), b"", b"\0\0"]
    rows = [{"b64": base64.b64encode(one).decode()} for one in sent]
    for content in ({"instances": rows}, {"instances": [{"slices_bytes": row} for row in rows]}):
        answer = server.predict("zoo", {"signature_name": "packed", **content})
        assert answer.json() == {"predictions": rows}
    answer = server.predict("zoo", {"signature_name": "packed", "inputs": {"slices_bytes": rows}})
    assert answer.json() == {"outputs": rows}


def test_strings_of_other_outputs_are_written_as_they_are(server):
    said = {"signature_name": "words", "instances": ["plain", 'qu"ote\n', "ü", {"b64": "/w=="}]}
    content = server.predict("zoo", said).content
    assert content.count(b"\xff") == 1
    assert json.loads(content.decode("utf-8", "replace"))["predictions"] == [
        "plain",
        'qu"ote\n',
        "ü",
        "\ufffd",
    ]


def test_several_inputs_and_outputs(server):
    rows = [{"a": 1, "b": 2}, {"a": 3, "b": 0.5}]
    answer = server.predict("zoo", {"signature_name": "two", "instances": rows}).json()["predictions"]
    assert [row["sum"] for row in answer] == [3.0, 3.5]
    assert all(np.isnan(row["none"]) for row in answer)
    columns = {"signature_name": "two", "inputs": {"a": [1], "b": [2], "c": "ignored"}}
    assert server.predict("zoo", columns).json()["outputs"]["sum"] == [3.0]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"instances": [[1, 2], [3, 4], [5, 6]]}, "Input slices: expecting shape [?,3,2] but got: [3,2]"),
        ({"instances": [[[1, 2], [3, 4]]]}, "Input slices: expecting shape [?,3,2] but got: [1,2,2]"),
        ({"inputs": 1.0}, "Input slices: expecting shape [?,3,2] but got: []"),
        ({"signature_name": "integers", "instances": [256]}, "is not of expected type: uint8"),
        ({"signature_name": "half", "instances": [1]}, "Failed to write JSON value for tensor type: half"),
        ({"signature_name": "scalar", "instances": [1]}, "Tensor name: y has no shape information "),
        ({"signature_name": "fails", "instances": [1]}, "too large"),
        (
            {"signature_name": "nope", "instances": [1]},
            'Serving signature name: "nope" not found in signature def',
        ),
        (
            {"signature_name": "__saved_model_init_op", "instances": [1]},
            "Failed to get input map for signature",
        ),
    ],
)
def test_what_does_not_fit_is_a_400_and_the_process_lives(server, content, error):
    before = server.worker()
    assert error in error_of(server.predict("zoo", content), 400)
    assert server.worker() == before


def test_an_output_without_rows_has_a_columnar_form(server):
    said = {"signature_name": "scalar", "inputs": [1, 2, 3]}
    assert server.predict("zoo", said).json() == {"outputs": 6.0}


def test_metadata_describes_every_signature(server):
    got = server.client.get("/v1/models/zoo/versions/7/metadata").json()
    assert got["model_spec"] == {"name": "zoo", "signature_name": "", "version": "7"}
    signatures = got["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "packed", "two", "__saved_model_init_op"} <= set(signatures)
    image = signatures["serving_default"]["inputs"]["slices"]
    assert image["dtype"] == "DT_FLOAT"
    assert image["name"] == "serving_default_slices:0"
    sizes = [{"size": size, "name": ""} for size in ("-1", "3", "2")]
    assert image["tensor_shape"] == {"dim": sizes, "unknown_rank": False}
    assert signatures["dies"]["inputs"]["x"]["tensor_shape"] == {"dim": [], "unknown_rank": True}
    assert signatures["serving_default"]["method_name"] == "tensorflow/serving/predict"


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/v1/models/nope", 404, "Could not find any versions of model nope"),
        ("/v1/models/default/versions/5", 404, "Could not find version 5 of model default"),
        ("/v1/models/nope/metadata", 404, "Servable not found for request: Latest(nope)"),
        (
            "/v1/models/default/versions/9/metadata",
            404,
            "Servable not found for request: Specific(default, 9)",
        ),
        ("/v1/models/default/labels/x/metadata", 400, "Unrecognized servable version label: x"),
        ("/v1/models/default/", 400, "Malformed request: GET /v1/models/default/"),
        ("/v1/models/default?x=1", 404, "Could not find any versions of model default?x=1"),
        ("/v1/models/..%2F..%2Fetc", 404, "Could not find any versions of model ../../etc"),
        ("/v1/models/releases", 404, "Could not find any versions of model releases"),
    ],
)
def test_addresses_that_name_nothing(server, path, status, error):
    assert error_of(server.client.get(path), status) == error


def test_names_are_matched_as_tensorflow_serving_does(server):
    assert server.client.get("/V1/Models/default/Versions/0123").status_code == 200
    assert (
        server.client.get(f"/v1/models/{TWO}/labels/anything").status_code == 200
    )  # a status ignores the label
    for method in ("PUT", "DELETE", "PATCH"):
        response = server.client.request(method, "/v1/models/default")
        assert error_of(response, 400) == f"Malformed request: {method} /v1/models/default"
    for path in ("/", "/v2/models/default", "/health"):
        response = server.client.get(path)
        assert (response.status_code, response.headers["content-type"]) == (404, "text/html; charset=utf-8")


def test_a_labeled_version_is_served_beside_the_newest(server):
    time.sleep(3)  # longer than a replaced version is kept
    found = {}
    for which in ("", "/labels/old", "/versions/1", "/versions/2"):
        response = server.client.post(f"/v1/models/labeled{which}:predict", content='{"instances": [0]}')
        found[which] = response.json()["predictions"]
    assert found == {"": [2.0], "/labels/old": [1.0], "/versions/1": [1.0], "/versions/2": [2.0]}
    assert states(server, "labeled") == {2: "AVAILABLE", 1: "AVAILABLE"}


def most_memory(server):
    """The most that the server's own process ever had, kB."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_gzip_in_and_what_only_says_so(server):
    body = gzip.compress(b'{"instances": [2]}')
    post = "/v1/models/default:predict"
    for coding in ("gzip", "x-gzip"):
        answer = server.client.post(post, content=body, headers={"Content-Encoding": coding})
        assert answer.json() == {"predictions": [3.0]}
        assert "content-encoding" not in answer.headers
    bomb, before = gzip.compress(bytes(64 << 20)), most_memory(server)
    empty = "JSON Parse error: The document is empty"
    for wrong in (body[:-4], b"no gzip", b"", bomb):
        response = server.client.post(post, content=wrong, headers={"Content-Encoding": "gzip"})
        assert error_of(response, 400) == empty
    assert most_memory(server) - before < 32 << 10  # the bomb was not unpacked and then judged
    assert error_of(server.client.post(post, content=body, headers={"Content-Encoding": "GZIP"}), 400)


def raw(server, data, read=4096):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(data)
        return connection.recv(read)


def test_a_body_is_limited_before_it_is_read(server):
    head = b"POST /v1/models/default:predict HTTP/1.1\r\nHost: localhost\r\n"
    answer = raw(server, head + b"Content-Length: 99999999999999999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 4")
    assert raw(server, head + b"Content-Length: 2097153\r\n\r\n").startswith(b"HTTP/1.1 413")

    def endless():
        for _ in range(64):
            yield b" " * 65536

    assert error_of(server.client.post("/v1/models/default:predict", content=endless()), 413)
    assert server.predict("default", {"instances": [2]}, headers={"x": "y" * 100_000}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances":' + b"[" * 100_000,
        b'{"instances":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b'{"instances":[1' + b"}" * 100_000,
        b'{"instances":[' + b"9" * 5000 + b"]}",
        b'{"instances":["\xff"]}',
        '{"instances":[1.0]}'.encode("utf-16"),
        b'{"signature_name":"words","instances":["\\ud800"]}',
    ],
)
def test_hostile_json_is_a_400(server, body):
    assert error_of(server.client.post("/v1/models/zoo:predict", content=body), 400)


def test_only_its_own_names_and_pages_may_ask(server):
    get = server.client.get
    for host in ("evil.example", "localhost.evil.example", "[::2]:80", "127.0.0.1@evil.example"):
        assert "Host" in error_of(get("/v1/models/default", headers={"Host": host}), 403)
    for origin in ("http://evil.example", "null", "http://localhost.evil.example"):
        assert "Origin" in error_of(get("/v1/models/default", headers={"Origin": origin}), 403)
    for headers in ({"Host": "LOCALHOST:1"}, {"Host": "[::1]:8501"}, {"Origin": "http://localhost:3000"}):
        assert get("/v1/models/default", headers=headers).status_code == 200
    assert raw(server, b"GET /v1/models/default HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")


def metrics(server):
    response = server.client.get("/monitoring/prometheus/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    lines = [line.rsplit(" ", 1) for line in response.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_metrics_count_requests_but_no_invented_names(server):
    name = ':tensorflow:serving:request_count{model_name="%s",status="%s"}'
    before = metrics(server)
    server.predict("default", {"instances": [2]})
    server.predict("default", {"instances": ["x"]})
    for number in range(3):
        server.predict(f"invented{number}", {"instances": [2]})
    after = metrics(server)
    grown = {
        key: after[key] - before.get(key, 0)
        for key in after
        if "request_count" in key and after[key] != before.get(key)
    }
    assert grown == {
        name % ("default", "OK"): 1,
        name % ("default", "INVALID_ARGUMENT"): 1,
        name % ("unknown", "NOT_FOUND"): 3,
    }
    key = ':tensorflow:serving:runtime_latency_count{API="Predict",model_name="default",runtime="TF2"}'
    assert after[key] == before.get(key, 0) + 1
    assert "Malformed" in error_of(server.client.get("/monitoring/prometheus/metrics?x"), 400)


def until(condition, seconds=90.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
    return found


def test_the_process_is_killed_and_comes_back(server):
    before = metrics(server)["raxnet_worker_restarts"]
    os.kill(server.worker(), signal.SIGKILL)
    until(lambda: metrics(server)["raxnet_worker_up"] == 0, 10)
    refused = server.predict("default", {"instances": [2]})
    assert "starting" in error_of(refused, 503)
    assert int(refused.headers["retry-after"]) > 0
    (status,) = server.client.get("/v1/models/default").json()["model_version_status"]
    assert status["state"] == "LOADING"
    until(lambda: server.predict("default", {"instances": [2]}).status_code == 200)
    assert metrics(server)["raxnet_worker_restarts"] == before + 1
    assert server.predict("zoo", {"instances": np.ones((1, 3, 2)).tolist()}).json() == {
        "predictions": [[[2.0, 2.0]] * 3]
    }


def test_a_request_in_flight_survives_the_death_of_the_process(server):
    answers = []

    def ask():
        answers.append(server.predict("zoo", {"signature_name": "slow", "instances": [3000]}))

    asking = threading.Thread(target=ask)
    worker = server.worker()
    asking.start()
    time.sleep(0.5)
    assert not answers
    os.kill(worker, signal.SIGKILL)
    asking.join(120)
    assert answers[0].json() == {"predictions": [0.0]}
    assert server.worker() != worker


def test_a_request_that_kills_twice_is_failed_and_the_server_goes_on(server):
    before = metrics(server)["raxnet_worker_restarts"]
    response = server.predict("zoo", {"signature_name": "dies", "instances": [1.0, 2.0]})
    if response.status_code == 400:
        pytest.skip("this TensorFlow does not die of a convolution of a wrong rank")
    assert "died of this request twice" in error_of(response, 500)
    until(lambda: server.predict("default", {"instances": [2]}).status_code == 200)
    assert metrics(server)["raxnet_worker_restarts"] == before + 2


def states(server, model):
    got = server.client.get(f"/v1/models/{model}").json()["model_version_status"]
    return {int(one["version"]): one["state"] for one in got}


def push(models, name, version, offset):
    """As Pusher does: complete under another name, then renamed."""
    save_half_plus_two(models / f".staged-{version}", offset)
    (models / name).mkdir(exist_ok=True)
    (models / f".staged-{version}").rename(models / name / str(version))


def test_a_pushed_version_is_served_a_broken_one_is_not_and_deleted_ones_are_replaced(server, folder):
    def ask(which=""):
        response = server.client.post(f"/v1/models/pushed{which}:predict", content='{"instances": [0]}')
        return response.json().get("predictions", response.status_code)

    push(folder, "pushed", 7, 7.0)
    until(lambda: ask() == [7.0])
    push(folder, "pushed", 8, 8.0)
    until(lambda: ask() == [8.0])
    assert ask("/versions/7") == [7.0]  # a volume that pinned it can be finished
    time.sleep(3)
    until(lambda: states(server, "pushed") == {8: "AVAILABLE", 7: "END"}, 10)
    assert ask("/versions/7") == 404
    (folder / "pushed/9").mkdir()
    (folder / "pushed/9/saved_model.pb").write_bytes(b"half")
    until(lambda: states(server, "pushed").get(9) == "END")
    assert ask() == [8.0]
    (nine,) = server.client.get("/v1/models/pushed/versions/9").json()["model_version_status"]
    assert nine["status"]["error_code"] != "OK"
    assert nine["status"]["error_message"]
    save_half_plus_two(folder / ".late", 9.0)  # a copy that took its time
    shutil.copytree(folder / ".late", folder / "pushed/9", dirs_exist_ok=True)
    until(lambda: ask() == [9.0])
    shutil.rmtree(folder / "pushed/9")
    shutil.rmtree(folder / "pushed/8")
    until(lambda: ask() == [7.0])
    shutil.rmtree(folder / "pushed/7")
    time.sleep(2)
    assert ask() == [7.0]  # what is in memory goes on


def test_sigterm_lets_what_runs_come_to_its_end(folder):
    one = Server(folder)
    answers = []
    said = {"signature_name": "slow", "instances": [3000]}
    asking = threading.Thread(target=lambda: answers.append(one.predict("zoo", said)))
    asking.start()
    time.sleep(1)
    assert not answers
    worker = one.worker()
    one.process.send_signal(signal.SIGTERM)
    asking.join(60)
    assert answers[0].json() == {"predictions": [0.0]}
    _, errors = one.process.communicate(timeout=60)
    assert (one.process.returncode, "Traceback" in errors) == (0, False), errors
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_token_and_timeout(folder):
    one = Server(folder, "--timeout", "5", token="secret")
    assert "bearer" in error_of(one.client.get("/v1/models/default"), 401)
    assert error_of(one.client.get("/v1/models/default", headers={"Authorization": "Bearer secre"}), 401)
    one.client.headers["Authorization"] = "Bearer secret"
    assert one.client.get("/v1/models/default").status_code == 200
    late = one.predict("zoo", {"signature_name": "slow", "instances": [100_000]})
    assert error_of(late, 504) == "Timed out waiting for notification"
    until(lambda: one.predict("default", {"instances": [2]}).status_code == 200)
    assert one.stop()[0] == 0


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["{empty}"], "no <model>/<version>/saved_model.pb here"),
        (["{folder}", "--label", "default/x"], "expected MODEL/LABEL=VERSION"),
        (["{folder}", "--label", "default/x=9"], "has no such version"),
        (["{folder}", "--rest-port", "70000"], "choose another"),
        (["{folder}", "--host", "256.0.0.1"], "choose another"),
        (["{folder}", "--max-body", "0"], "--max-body: expected a number of 1 or more, found 0"),
    ],
)
def test_bad_usage_ends_before_anything_is_loaded(folder, tmp_path, capsys, words, error):
    filled = [word.format(folder=folder, empty=tmp_path) for word in words]
    assert main.main(["serve", *filled]) == 2
    assert error in capsys.readouterr().err


def test_models_that_are_all_broken_end_the_start(tmp_path):
    (tmp_path / "axial/3").mkdir(parents=True)
    (tmp_path / "axial/3/saved_model.pb").write_bytes(b"no model")
    with pytest.raises(AssertionError, match="axial: cannot be loaded"):
        Server(tmp_path)
