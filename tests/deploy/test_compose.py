"""deploy/docker/compose.yaml as it stands, but for TensorFlow Serving's image, whose place our model server takes."""

import os
import signal
import subprocess
import time
from pathlib import Path

import httpx
import nibabel
import numpy as np
import pytest
import yaml

from lesions import nifti
from serving.predictor import open_models
from serving.segmenter import segment
from tests.deploy import compose
from tests.deploy.engine import UnavailableError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]  # images may have to be built first
FILE = Path(__file__).parents[2] / "deploy/docker/compose.yaml"
SERVING = {
    "image": "raxnet",
    "entrypoint": ["raxnet"],
    "command": ["serve", "/models", "--host=0.0.0.0", "--allowed-host=tf-serving"],
}
GATEWAY = "http://localhost:8080"
START_SECONDS = 300


class Project:
    """The services, and how they are asked."""

    def __init__(self, engine, words, environment):
        self.engine, self.words, self.environment = engine, words, environment

    def say(self, *words):
        done = subprocess.run([*self.words, *words], env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def ready(self):
        """Waits until the gateway and the models behind it answer."""
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                if httpx.get(f"{GATEWAY}/readyz", timeout=10, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            assert time.monotonic() < end, self.say("logs")
            time.sleep(1)

    def mask_of(self, scan, folder):
        """The mask that the gateway answers a scan with."""
        answer = httpx.post(f"{GATEWAY}/segment", content=scan.read_bytes(), timeout=300, trust_env=False)
        assert answer.status_code == 200, answer.text
        (folder / "mask.nii.gz").write_bytes(answer.content)
        return np.asarray(nibabel.load(folder / "mask.nii.gz").dataobj)

    def container(self, service):
        return self.say("ps", "--quiet", service)


@pytest.fixture(scope="module")
def project(engine, image, models, cannot, tmp_path_factory):
    try:
        command = compose.command(engine)
    except UnavailableError as reason:
        cannot(reason)
    override = tmp_path_factory.mktemp("compose") / "override.yaml"
    override.write_text(yaml.safe_dump({"services": {"tf-serving": SERVING}}))
    words = [*command, "--project-name=raxnet-test", f"--file={FILE}", f"--file={override}"]
    running = Project(engine, words, engine.environment | {"MODELS": str(models)})
    try:
        running.say("up", "--detach", "--no-build")
        yield running
    finally:
        running.say("down", "--volumes", "--timeout=5")


def test_a_scan_goes_through_both_and_again_after_one_was_killed(project, engine, models, scan, tmp_path):
    project.ready()
    expected = segment(nifti.read(scan), open_models(models)).mask.data
    np.testing.assert_array_equal(project.mask_of(scan, tmp_path), expected)
    for service in ("tf-serving", "gateway"):
        container = project.container(service)
        before = int(engine.inspect(container, ".State.Pid"))
        os.kill(before, signal.SIGKILL)
        end = time.monotonic() + 60
        while engine.inspect(container, ".RestartCount") != "1":
            assert time.monotonic() < end
            time.sleep(0.5)
        project.ready()
        assert int(engine.inspect(container, ".State.Pid")) != before
        np.testing.assert_array_equal(project.mask_of(scan, tmp_path), expected)


def test_the_models_are_out_of_reach_from_outside(project, engine):
    """The model server is on the inner network alone, and publishes no port."""
    container = project.container("tf-serving")
    assert engine.inspect(container, "json .HostConfig.PortBindings") in ("{}", "null")
    networks = engine.inspect(container, "range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end")
    assert networks.split() == ["raxnet-test_models"]
