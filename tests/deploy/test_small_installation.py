"""The installation without TFX, Beam and TFMA: made anew, it segments as the whole one does and says what it lacks."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import nibabel
import numpy as np
import pytest

from lesions.grid import template_grid
from lesions.phantom import make_subject
from lesions.push import push
from lesions.slices import PLANES
from serving.predictor import folder_digest
from serving.releases import publish, served
from tests.deploy.networks import SPACING, STEP, card_of, network_of
from trainer import job, keras2_config

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An environment of its own, by the command that README names."""
    folder = tmp_path_factory.mktemp("small") / "venv"
    made = subprocess.run(
        ["./dev", "setup", "small"],
        cwd=ROOT,
        env=os.environ | {"VENV": str(folder)},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    return folder / "bin"


def run(*words, cwd):
    return subprocess.run(list(map(str, words)), cwd=cwd, capture_output=True, text=True)


def test_it_has_none_of_the_pipelines_packages(small, tmp_path):
    names = ("tfx", "apache_beam", "tensorflow_model_analysis")
    script = f"import importlib.util as u; print([n for n in {names} if u.find_spec(n)])"
    assert run(small / "python", "-c", script, cwd=tmp_path).stdout.strip() == "[]"


def test_it_segments_as_the_whole_one_does(small, models, tmp_path):
    scan, _ = make_subject(0, seed=2, spacing=SPACING)
    nibabel.save(nibabel.Nifti1Image(scan.data, scan.grid.affine), tmp_path / "scan.nii.gz")
    found = {}
    for name, command in {
        "small": [small / "raxnet"],
        "whole": [sys.executable, "-m", "pipeline.cli.main"],
    }.items():
        words = ["segment", tmp_path / "scan.nii.gz", tmp_path / name, "--models", models]
        done = run(*command, *words, cwd=ROOT if name == "whole" else tmp_path)
        assert done.returncode == 0, done.stderr
        maps = sorted((tmp_path / name).rglob("*probseg.nii.gz"))
        found[name] = {path.name: np.asarray(nibabel.load(path).dataobj) for path in maps}
    assert set(found["small"]) == set(found["whole"]) != set()
    for name, whole in found["whole"].items():
        assert whole.std() > 0.001
        np.testing.assert_allclose(found["small"][name], whole, atol=STEP)


def test_it_imports_weights_as_keras_2_writes_them(small, tmp_path):
    grid = template_grid(1.0)
    network = network_of("axial", grid)
    card = replace(card_of(network, "axial", grid), weights=job.weights_digest(network))
    keras2_config.write(network, card, tmp_path / "axial.h5")
    done = run(small / "raxnet", "import", "axial.h5", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/axial").is_dir()


def test_it_serves(small, models, tmp_path):
    command = [small / "raxnet", "serve", models, "--port", "0", "--rest-port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            said = [server.stdout.readline().split()[-1] for _ in range(2)]
            ready = httpx.get(f"{said[1]}/readyz", timeout=120, trust_env=False)
            assert (ready.status_code, set(PLANES) - set(ready.text.split('"'))) == (200, set())
        finally:
            server.terminate()
    assert server.returncode == 0


def test_it_rolls_back(small, models, tmp_path):
    folder = tmp_path / "models"
    shutil.copytree(models, folder)
    said = {plane: {"version": 1, "sha256": folder_digest(models / plane / "1")} for plane in PLANES}
    first = publish({"models": said}, folder / "releases")["id"]
    pushed = push(models / "axial/1", folder / "axial")
    done = run(small / "raxnet", "rollback", first, "--models", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert served(folder)["axial"] > pushed


@pytest.fixture(scope="module")
def data(small, tmp_path_factory):
    """A phantom that it makes."""
    folder = tmp_path_factory.mktemp("phantom")
    words = ("phantom", folder / "data", "--subjects", 16, "--spacing", 6)
    assert run(small / "raxnet", *words, cwd=folder).returncode == 0
    return folder / "data"


def test_what_needs_tfx_says_so(small, data, tmp_path):
    config = tmp_path / "config.yaml"
    words = ("init", "demo", config, "--data", data, "--root", tmp_path / "root")
    assert run(small / "raxnet", *words, cwd=tmp_path).returncode == 0
    config.write_text(config.read_text().replace("folds: 8", "folds: 2"))
    done = run(small / "raxnet", "run", config, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1] == (
        "raxnet run: tfx is not in this installation; run `./dev setup`, or install raxnet-pipeline[pipeline]"
    )
    assert "Traceback" not in done.stderr


def test_the_domains_commands_need_no_tfx(small, data, tmp_path):
    checked = run(small / "raxnet", "check", data, "--json", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)
    for words in (("stats", data, "tables"), ("folds", "tables", "folds", "--folds", "2")):
        done = run(small / "raxnet", *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "folds/folds.csv").is_file()
