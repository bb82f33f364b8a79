"""The images, made from the Dockerfile as it stands and run as they say: a scan in, the mask of the native way out."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import keras
import nibabel
import numpy as np
import pytest

from lesions.grid import template_grid
from lesions.phantom import make_subject
from lesions.slices import PLANES
from pipeline.kubeflow_settings import KubeflowSettings
from tests.deploy import image as images
from tests.deploy.test_small_installation import STEP, card_of, models, network_of
from trainer import keras2_config

__all__ = ["models"]  # the fixture
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
OTHER = "12345:12345"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The small image."""
    if reason := images.unavailable():
        assert "RAXNET_REQUIRE_IMAGES" not in os.environ, f"images must be made here: {reason}"
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("image")
    build = images.Build(ROOT, folder, "raxnet")
    print("image, base, in MB:", images.size_mb(build.image))
    return build


@pytest.fixture
def start(built):
    def started(*arguments, **options):
        return images.run(built.image, built.folder / "running", arguments, **options)

    return started


@pytest.fixture
def scan(tmp_path):
    (tmp_path / "data").mkdir()
    volume, _ = make_subject(0, seed=2, spacing=6.0)
    nibabel.save(nibabel.Nifti1Image(volume.data, volume.grid.affine), tmp_path / "data/scan.nii.gz")
    return tmp_path / "data/scan.nii.gz"


def writable(folder, user):
    folder.mkdir()
    os.chown(folder, *map(int, user.split(":")))
    return folder


def maps(folder):
    found = {path.name: np.asarray(nibabel.load(path).dataobj) for path in sorted(folder.rglob("*.nii.gz"))}
    assert found
    return found


def test_a_scan_in_and_the_native_mask_out(built, start, scan, models, tmp_path):
    models.chmod(0o755)
    out = writable(tmp_path / "out", built.image.user)
    mounts = {scan.parent: ("/bids", "ro"), out: ("/out", "rw"), models: ("/models", "ro")}
    done = start("/bids", "/out", "participant", mounts=mounts)
    assert done.returncode == 0, done.stderr
    command = [
        sys.executable,
        "-m",
        "pipeline.cli.main",
        "segment",
        scan.parent,
        tmp_path / "native",
        "--models",
        models,
    ]
    native = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
    assert native.returncode == 0, native.stderr
    mine, theirs = maps(out), maps(tmp_path / "native")
    assert set(mine) == set(theirs)
    for name in mine:
        np.testing.assert_allclose(mine[name], theirs[name], atol=STEP if "probseg" in name else 0)


def test_the_methods_own_use_works(start, tmp_path):
    """./data and ./trained_models/*.h5 are imported and segmented into /results, by one mount more."""
    here, results = tmp_path / "here", writable(tmp_path / "results", OTHER)
    (here / "data").mkdir(parents=True)
    (here / "trained_models").mkdir()
    volume, _ = make_subject(0, seed=2, spacing=1.0)
    nibabel.save(nibabel.Nifti1Image(volume.data, volume.grid.affine), here / "data/scan.nii.gz")
    keras.utils.set_random_seed(1)
    for plane in PLANES:
        network = network_of(plane, template_grid(1.0))
        keras2_config.write(
            network, card_of(network, plane, template_grid(1.0)), here / f"trained_models/{plane}.h5"
        )
    for path in (here / "trained_models").iterdir():
        _without_card(path)
    done = start(mounts={here: ("/here", "ro"), results: ("/results", "rw")}, user=OTHER)
    assert done.returncode == 0, done.stderr
    (mask,) = results.rglob("*_mask.nii.gz")
    assert nibabel.load(mask).shape == (197, 233, 189)
    assert mask.stat().st_uid == 12345


def _without_card(path):
    """As the authors' files are."""
    import h5py

    from trainer.keras2_h5 import CARD

    with h5py.File(path, "a") as file:
        del file.attrs[CARD]


@pytest.mark.parametrize(
    ("mounts", "said"),
    [
        ((), "no scans: mount"),
        (("here",), "nowhere to write"),
        (("here", "results"), "cannot be written by user 10001"),
    ],
)
def test_what_is_missing_is_said(start, tmp_path, mounts, said):
    (tmp_path / "here/data").mkdir(parents=True)
    (tmp_path / "results").mkdir()
    given = {tmp_path / name: (f"/{name}", "ro" if name == "here" else "rw") for name in mounts}
    done = start(mounts=given)
    assert done.returncode == 2
    assert said in done.stderr


def test_health_check_fails_where_nothing_answers_and_passes_where_the_server_does(built, start, models):
    models.chmod(0o755)
    check = built.image.healthcheck
    assert start(instead=check).returncode != 0
    wait = " ".join(check) + " && break; sleep 1; done"
    script = (
        f"raxnet serve /models --host 0.0.0.0 >/tmp/said 2>&1 & for i in $(seq 90); do {wait}; "
        + " ".join(check)
    )
    done = start(instead=["/bin/sh", "-c", script], mounts={models: ("/models", "ro")})
    assert done.returncode == 0, done.stderr


def test_models_that_may_not_be_read_are_named(start, scan, models, tmp_path):
    models.chmod(0o700)
    mounts = {scan.parent: ("/bids", "ro"), tmp_path: ("/out", "rw"), models: ("/models", "ro")}
    done = start("/bids", "/out/masks", mounts=mounts)
    assert done.returncode == 2
    assert "/models/axial: this user may not read it" in done.stderr
    assert "Traceback" not in done.stderr


def test_commands_of_ours_run_too(start):
    done = start("check", "/nowhere")
    assert done.returncode == 2
    assert "no such folder" in done.stderr
    assert start("--help").returncode == 0


def test_it_runs_as_nobody_special_cannot_write_and_has_no_network(built, start):
    assert built.image.user == "10001:10001"
    ask = 'import urllib.request as u; u.urlopen("http://deb.debian.org", timeout=5)'
    script = f"id -u; touch /opt/raxnet/x 2>&1 || echo read-only; python -c '{ask}' 2>&1 | tail -1"
    done = start(instead=["/bin/sh", "-c", script])
    lines = done.stdout.splitlines()
    assert lines[0] == "10001"
    assert "read-only" in lines
    assert "URLError" in lines[-1]
    layers = [path for layer in built.image.layers[1:] for path in (layer / "opt").rglob("*")]
    assert layers
    assert not [
        path
        for path in layers
        if not path.is_symlink() and path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ]


def test_the_bill_of_materials_names_what_is_there(built, start):
    done = start(instead=["cat", "/opt/raxnet/sbom.json"])
    bill = json.loads(done.stdout)
    assert bill["bomFormat"] == "CycloneDX"
    listed = {one["name"].lower(): one["version"] for one in bill["components"]}
    assert {"tensorflow", "numpy", "nibabel", "simpleitk", "starlette"} <= set(listed)
    assert not {"tfx", "apache-beam", "tensorflow-model-analysis"} & set(listed)
    done = start(instead=["cat", "/opt/raxnet/licenses.txt"])
    assert "NiiVue (serving/web/static/vendor)\t0.69.0\tBSD-2-Clause" in done.stdout
    assert done.stdout.count("\n") > len(listed)


def test_the_pipelines_image_carries_out_a_step_of_kubeflow(built, tmp_path):
    out = writable(tmp_path / "store", built.image.user)
    generator = "components.hyperparameters_gen.HyperparametersGen_Executor"
    artifact = {
        "name": "h",
        "uri": "minio://b/h",
        "type": {"instanceSchema": "title: tfx.HyperParameters\ntype: object\n"},
    }
    invocation = {
        "inputs": {"parameterValues": {"epochs": 3.0, "batch_size": 8.0, "code": "c"}},
        "outputs": {
            "artifacts": {"hyperparameters": {"artifacts": [artifact]}},
            "outputFile": "/store/outputs/metadata.json",
        },
    }
    parameters = {"epochs": "NUMBER_INTEGER", "batch_size": "NUMBER_INTEGER", "code": "STRING"}
    spec = {"parameters": {name: {"parameterType": kind} for name, kind in parameters.items()}}
    words = ["python", "-m", "pipeline.kubeflow_step", "--executor_class_path", generator]
    words += ["--json_serialized_invocation_args", json.dumps(invocation)]
    words += ["--json_serialized_inputs_spec_args", json.dumps(spec)]
    image = built.stages["pipeline"]
    print("pipeline's image, base, in MB:", images.size_mb(image))
    step = ["env", "ARTIFACT_LOCAL_PATH=/store", *words]
    done = images.run(image, built.folder / "running", mounts={out: ("/store", "rw")}, instead=step)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "minio/b/h/hyperparameters.json").read_text()) == {"epochs": 3, "batch_size": 8}
    told = json.loads((out / "outputs/metadata.json").read_text())["artifacts"]["hyperparameters"][
        "artifacts"
    ]
    assert told[0]["uri"] == "minio://b/h"
    settings = KubeflowSettings()
    assert (
        images.run(
            image, built.folder / "running", instead=["test", "-f", f"{settings.home}/schema/schema.pbtxt"]
        ).returncode
        == 0
    )


def test_labels_and_entry_point(built):
    assert built.image.labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert built.image.entrypoint == ["/opt/raxnet/deploy/docker/entrypoint.sh"]
