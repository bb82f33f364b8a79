"""Other people's clients, as they are: TensorFlow Serving's REST API is what `raxnet serve` speaks."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.serving.server import Server, save_half_plus_two, save_zoo

OVMSCLIENT = "ovmsclient==2023.1"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raxnet"
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="node is not here")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    save_half_plus_two(models / "default/123")
    save_zoo(models / "zoo/7")
    one = Server(models)
    yield one
    assert one.stop()[0] == 0


def said_by(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@needs_node
def test_fetch_of_javascript(server):
    script = """
const base = process.argv[1] + "/v1/models/";
const post = (path, body) => fetch(base + path, {method: "POST", body: JSON.stringify(body)});
const slices = new Float32Array([1, 2, 3, -4, 0.1, 1e-40]);
const row = {b64: Buffer.from(slices.buffer).toString("base64")};
(async () => {
  const status = await (await fetch(base + "default")).json();
  const signatures = await (await fetch(base + "zoo/metadata")).json();
  const half = await (await post("default:predict", {instances: [1, 2, 5]})).json();
  const packed = await (await post("zoo:predict", {signature_name: "packed", instances: [row, row]})).json();
  const back = new Float32Array(new Uint8Array(Buffer.from(packed.predictions[1].b64, "base64")).buffer);
  const wrong = await post("zoo:predict", {instances: [[1]]});
  console.log(JSON.stringify({
    state: status.model_version_status[0].state,
    names: Object.keys(signatures.metadata.signature_def.signature_def).sort(),
    half: half.predictions, same: slices.every((value, i) => Object.is(value, back[i])),
    wrong: [wrong.status, (await wrong.json()).error, wrong.headers.get("content-type")],
  }));
})();
"""
    found = said_by(["node", "-e", script, server.url])
    assert found["state"] == "AVAILABLE"
    assert {"serving_default", "packed", "two"} <= set(found["names"])
    assert found["half"] == [2.5, 3.0, 4.5]
    assert found["same"] is True
    assert found["wrong"] == [400, "Input slices: expecting shape [?,3,2] but got: [1,1]", "application/json"]


@needs_node
def test_fetch_of_javascript_with_many_at_once(server):
    script = """
const url = process.argv[1] + "/v1/models/default:predict";
const ask = async (i) => {
  const answer = await fetch(url, {method: "POST", body: JSON.stringify({instances: [i]})});
  return [answer.status, (await answer.json()).predictions];
};
Promise.all([...Array(12).keys()].map(ask)).then((all) => console.log(JSON.stringify(all)));
"""
    assert said_by(["node", "-e", script, server.url]) == [[200, [i / 2 + 2]] for i in range(12)]


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not here")
def test_curl_with_a_packed_body_in_pieces(server, tmp_path):
    body = gzip.compress(json.dumps({"instances": [[[1, 2], [3, 4], [5, 6]]]}).encode())
    (tmp_path / "body").write_bytes(body)
    command = [
        "curl",
        "-sSf",
        "--compressed",
        "-H",
        "Content-Encoding: gzip",
        "-H",
        "Transfer-Encoding: chunked",
    ]
    command += ["-H", "Expect: 100-continue", "--data-binary", f"@{tmp_path / 'body'}"]
    found = said_by([*command, f"{server.url}/v1/models/zoo:predict"])
    assert found == {"predictions": [[[2.0, 4.0], [6.0, 8.0], [10.0, 12.0]]]}


@pytest.fixture(scope="module")
def ovmsclient():
    """A Python with the client in an environment of its own, which is kept."""
    folder = CACHE / OVMSCLIENT.replace("==", "-")
    python = folder / "bin/python"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command):
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    if not python.exists() or run(python, "-c", "import ovmsclient").returncode:
        made = run(sys.executable, "-m", "venv", "--clear", folder)
        done = made if made.returncode else run(python, "-m", "pip", "install", "-q", OVMSCLIENT)
        if done.returncode:
            pytest.skip(f"{OVMSCLIENT} cannot be installed: {(done.stderr or done.stdout)[-200:]}")
    return python


@pytest.mark.slow
def test_ovmsclient(server, ovmsclient):
    """The HTTP client of OpenVINO Model Server, written for TensorFlow Serving's API; its version is to be given."""
    script = """
import json, sys
import numpy as np
from ovmsclient import make_http_client
client = make_http_client(sys.argv[1].removeprefix("http://"))
status = client.get_model_status("default", 123)
meta = client.get_model_metadata("zoo", 7)
half = client.predict({"x": np.array([1, 2, 5], np.float32)}, "default", 123)
image = client.predict({"slices": np.arange(12, dtype=np.float32).reshape(2, 3, 2)}, "zoo", 7)
try:
    client.predict({"slices": np.zeros(3, np.float32)}, "zoo", 7)
    refused = None
except Exception as error:
    refused = [type(error).__name__, str(error)]
print(json.dumps({"status": {str(k): v for k, v in status.items()}, "meta": meta, "half": np.asarray(half).tolist(),
                  "image": np.asarray(image).tolist(), "refused": refused}, default=str))
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = said_by([str(ovmsclient), "-c", script, server.url], env=environment)
    assert found["status"]["123"]["state"] == "AVAILABLE"
    # Of TensorFlow Serving's names it makes nothing, and gives the answer as it came.
    shape = found["meta"]["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["slices"]
    assert [dim["size"] for dim in shape["tensor_shape"]["dim"]] == ["-1", "3", "2"]
    assert found["half"] == [2.5, 3.0, 4.5]
    np.testing.assert_array_equal(found["image"], np.arange(12).reshape(2, 3, 2) * 2)
    assert "InvalidInputError" in found["refused"][0]
    assert "expecting shape [?,3,2]" in found["refused"][1]
