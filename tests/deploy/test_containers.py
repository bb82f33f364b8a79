"""The segmenting image, built by a Docker engine and run as its user, without network, on a read-only root."""

import json
import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.deploy.networks import STEP

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]  # images may have to be built first
ROOT = Path(__file__).parents[2]
CLOSED = ("--network=none", "--read-only", "--tmpfs=/tmp")
SMALL = ("--cpus=1", "--memory=3g")
USER = 10001
ENTRYPOINT = "/opt/raxnet/deploy/docker/entrypoint.sh"
# Asked inside the container, which has no network but its own: a scan to the gateway, its mask to a file.
ASK = (
    "import sys, urllib.request as u; "
    "sent = u.Request('http://localhost:8080/segment', open(sys.argv[1], 'rb').read()); "
    "open(sys.argv[2], 'wb').write(u.urlopen(sent, timeout=300).read())"
)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A folder that the image's user owns."""
    folder = tmp_path_factory.mktemp("out")
    os.chown(folder, USER, USER)
    return folder


@pytest.fixture(scope="module")
def mounts(scan, models, out):
    folders = (f"{scan.parent}:/bids:ro", f"{models}:/models:ro", f"{out}:/out")
    return [f"--volume={folder}" for folder in folders]


@pytest.fixture(scope="module")
def served(engine, image, mounts):
    """One container for all that is asked of a running one: it serves the models, with a processor and 3 GiB."""
    name = f"raxnet-test-{uuid.uuid4().hex[:8]}"
    command = (image, "serve", "/models", "--host", "0.0.0.0")
    engine.say("run", "--detach", "--name", name, *CLOSED, *SMALL, *mounts, *command)
    yield name
    engine.ask("rm", "--force", name)


@pytest.fixture(scope="module")
def native(scan, models, tmp_path_factory):
    """The maps that the same command makes outside a container."""
    folder = tmp_path_factory.mktemp("native")
    command = [sys.executable, "-m", "pipeline.cli.main", "segment", scan.parent, folder, "--models", models]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def maps(folder):
    found = {path.name: np.asarray(nibabel.load(path).dataobj) for path in sorted(folder.rglob("*.nii.gz"))}
    assert found
    return found


def test_health_check_fails_before_the_server_answers_and_passes_then(engine, image, served):
    kind, *check = json.loads(engine.inspect(image, "json .Config.Healthcheck.Test"))
    assert kind == "CMD"
    assert engine.ask("exec", served, *check[:-1], check[-1], "1").returncode != 0  # a port where nobody is
    end = time.monotonic() + 300
    while engine.ask("exec", served, *check).returncode:
        assert engine.inspect(served, ".State.Running") == "true", engine.ask("logs", served).stderr
        assert time.monotonic() < end
        time.sleep(1)


def test_a_scan_in_and_the_native_mask_out(engine, image, mounts, out, native):
    """A user's command, with a processor and 3 GiB: nothing but our lines is seen, and nothing is killed."""
    name = f"raxnet-test-{uuid.uuid4().hex[:8]}"
    try:
        done = engine.ask(
            "run", "--name", name, *CLOSED, *SMALL, *mounts, image, "/bids", "/out", "participant"
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert [line.split(":")[0] for line in done.stdout.splitlines()[:2]] == ["device", "models"]
        assert engine.inspect(name, ".State.OOMKilled") == "false"
    finally:
        engine.ask("rm", "--force", name)
    mine, theirs = maps(out), maps(native)
    assert set(mine) == set(theirs)
    for key in mine:
        np.testing.assert_allclose(mine[key], theirs[key], atol=STEP if "probseg" in key else 0)
    assert {path.stat().st_uid for path in out.rglob("*.nii.gz")} == {USER}


def test_a_container_without_network_serves_who_asks_inside_it(engine, served, out, native):
    engine.say("exec", served, "python", "-c", ASK, "/bids/scan.nii.gz", "/out/served.nii.gz")
    mask = np.asarray(nibabel.load(out / "served.nii.gz").dataobj)
    (out / "served.nii.gz").unlink()
    (expected,) = native.rglob("*_mask.nii.gz")
    np.testing.assert_array_equal(mask, np.asarray(nibabel.load(expected).dataobj))
    logged = engine.ask("logs", served)
    first, *others = logged.stderr.splitlines()
    assert first == "loading the models"
    ours = re.compile(r"  (\w+ 1 is served|\[\w+\] POST /segment: 200 in .* s)")
    assert all(ours.fullmatch(line) for line in others), others
    assert logged.stdout.splitlines()[-1].startswith("gateway at ")


def test_processors_and_memory_are_those_of_the_container(engine, served):
    found = json.loads(engine.say("exec", served, "python", "-m", "common.machine"))
    assert found == {"processors": 1, "memory_bytes": 3 << 30}
    assert engine.inspect(served, ".State.OOMKilled") == "false"


def test_it_runs_as_nobody_special_cannot_write_and_has_no_network(engine, image, served):
    assert engine.inspect(image, ".Config.User") == f"{USER}:{USER}"
    assert engine.say("exec", served, "id", "-u") == str(USER)
    written = engine.ask("exec", served, "touch", "/opt/raxnet/x")
    assert "Read-only file system" in written.stderr
    ask = 'import urllib.request as u; u.urlopen("http://deb.debian.org", timeout=5)'
    assert "URLError" in engine.ask("exec", served, "python", "-c", ask).stderr
    assert engine.say("exec", served, "sh", "-c", "find /opt -type f | head -n 1")
    assert engine.say("exec", "--user=0", served, *["find", "/opt", "!", "-type", "l", "-perm", "/022"]) == ""


def test_models_that_may_not_be_read_are_named(engine, served, models):
    models.chmod(0o700)
    try:
        done = engine.ask("exec", served, ENTRYPOINT, "/bids", "/out/masks")
    finally:
        models.chmod(0o755)
    assert done.returncode == 2
    assert "/models/axial: this user may not read it" in done.stderr
    assert "Traceback" not in done.stderr


def test_commands_of_ours_run_too(engine, served):
    done = engine.ask("exec", served, ENTRYPOINT, "check", "/nowhere")
    assert done.returncode == 2
    assert "no such folder" in done.stderr
    assert "segment" in engine.say("exec", served, ENTRYPOINT, "--help")
    assert "segment" in engine.say("exec", served, ENTRYPOINT)


def test_the_bill_of_materials_names_what_is_there(engine, served):
    bill = json.loads(engine.say("exec", served, "cat", "/opt/raxnet/sbom.json"))
    assert bill["bomFormat"] == "CycloneDX"
    listed = {one["name"].lower(): one["version"] for one in bill["components"]}
    assert {"tensorflow", "numpy", "nibabel", "simpleitk", "starlette"} <= set(listed)
    assert not {"tfx", "apache-beam", "tensorflow-model-analysis"} & set(listed)
    licenses = engine.say("exec", served, "cat", "/opt/raxnet/licenses.txt")
    assert "NiiVue (serving/web/static/vendor)\t0.69.0\tBSD-2-Clause" in licenses
    assert len(licenses.splitlines()) > len(listed)


def test_labels_entry_point_and_size(engine, image):
    labels = json.loads(engine.inspect(image, "json .Config.Labels"))
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert json.loads(engine.inspect(image, "json .Config.Entrypoint")) == [ENTRYPOINT]
    size = int(engine.inspect(image, ".Size")) / 1e6
    print(f"{image}: {size:.0f} MB", file=sys.stderr)
    assert size < 3500  # docs/containers.md says what it holds
