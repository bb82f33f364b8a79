"""Dockerfile, compose file and Apptainer definition: linted, and naming what is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.cli.main import COMMANDS, parser

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy/docker"


@pytest.mark.parametrize("file", ["Dockerfile", "deploy/docker/rux/Dockerfile"])
def test_hadolint_finds_nothing(file):
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / file], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_find_something(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN cd /tmp && sudo apt-get install x\n")
    hadolint = Path(sys.executable).with_name("hadolint")
    assert subprocess.run([hadolint, tmp_path / "Dockerfile"], capture_output=True).returncode == 1


def test_the_entry_point_knows_every_command():
    text = (DOCKER / "entrypoint.sh").read_text()
    known = set(re.findall(r"[a-z]+", text[text.index("case") : text.index(")", text.index("case"))]))
    assert {name.rstrip("_") for name in COMMANDS} <= known


def test_compose_calls_the_gateway_by_options_that_exist_and_serving_as_kubernetes_does():
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    asked = parser().parse_args(services["gateway"]["command"])
    assert (asked.command, asked.host, asked.server) == ("serve", "0.0.0.0", "http://tf-serving:8501")
    (manifest, _) = yaml.safe_load_all((ROOT / "deploy/kubernetes/tf-serving.yaml").read_text())
    (pod,) = manifest["spec"]["template"]["spec"]["containers"]
    assert set(services["tf-serving"]["command"]) == set(pod["args"]) - {"--port=8500"}
    assert services["tf-serving"]["image"] == pod["image"]
    for name, service in services.items():
        assert service["read_only"], name
        for volume in service.get("volumes", []):
            here = volume.split(":")[0]
            assert here.startswith("${MODELS") or (DOCKER / here).is_dir()


def test_apptainer_starts_what_the_image_has():
    definition = (ROOT / "deploy/apptainer/raxnet.def").read_text()
    (script,) = re.findall(r"exec /opt/raxnet/(\S+) ", definition)
    assert (ROOT / script).stat().st_mode & 0o111
    assert "exec /opt/venv/bin/raxnet serve /models" in definition


def test_git_ignores_scans_weights_and_masks_of_the_methods_folder():
    folder = "deploy/docker/rux"
    names = ("data/scan.nii.gz", "data/sub/scan.nii", "trained_models/axial.h5", "results/scan.nii.gz")
    paths = [f"{folder}/{name}" for name in names]
    done = subprocess.run(["git", "check-ignore", *paths], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == paths
    assert "deploy/docker/rux" in (ROOT / ".dockerignore").read_text().splitlines()
