"""The method's own two commands, in a copy of deploy/docker/rux: docker build -t rux . and docker run ... rux."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest

from lesions import nifti
from lesions.grid import Volume
from lesions.phantom import make_subject
from tests.deploy import networks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]  # images may have to be built first
SOURCE = Path(__file__).parents[2] / "deploy/docker/rux"
RUN = 'docker run {options} -v "$(pwd)/results:/results" -p 4000:80 rux'  # as the method's page has it
OWNER = 12345
SHAPES = {"small.nii": (17, 15, 13), "clinic/small.nii": (13, 17, 15)}
OURS = re.compile(r"rux: warning: (clinic/)?s\w+\.nii(\.gz)?: .*|  segmenting: \d+ of \d+")


def run(engine, here, options="", kept=False):
    """The command, in a shell, in the folder; the container is removed then, unless it is kept."""
    command = RUN.format(options=options if kept else f"{options} --rm").replace("docker", engine.client, 1)
    return subprocess.run(
        ["sh", "-c", command], cwd=here, env=engine.environment, capture_output=True, text=True
    )


def build(engine, here):
    return engine.ask("build", "-t", "rux", "--network=none", ".", cwd=here)


def results(here, owner):
    folder = here / "results"
    folder.mkdir(exist_ok=True)
    os.chown(folder, owner, owner)
    return folder


def cube(shape):
    """A part of a brain on an odd, oblique grid: few slices, so that it takes little time."""
    volume, _ = make_subject(0, seed=2, spacing=1.0)
    data = volume.data[80 : 80 + shape[0], 100 : 100 + shape[1], 80 : 80 + shape[2]]
    affine = volume.grid.matrix.copy()
    affine[:3, 3] = (affine @ [80, 100, 80, 1])[:3]
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    return nibabel.Nifti1Image(data, turn @ affine)


@pytest.fixture(scope="module")
def here(tmp_path_factory, image):
    """A copy of the folder with three files of weights and no scan yet; the image raxnet is there."""
    folder = tmp_path_factory.mktemp("method") / "rux"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("*.nii*", "*.h5", "results"))
    networks.write_authors_files(folder / "trained_models")
    return folder


@pytest.fixture(scope="module")
def small(here, engine):
    """The image of two small scans of the same name, which only their owner may read."""
    for name, shape in SHAPES.items():
        path = here / "data" / name
        path.parent.mkdir(exist_ok=True)
        nibabel.save(cube(shape), path)
        path.chmod(0o600)
    (here / "data/clinic").chmod(0o700)
    done = build(engine, here)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "cuInit" not in done.stdout + done.stderr
    return here


def test_a_mask_for_each_scan_named_like_it_and_owned_like_the_folder(small, engine):
    folder = results(small, OWNER)
    done = run(engine, small)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert all(OURS.fullmatch(line) for line in lines), lines
    for name in SHAPES:  # parts of a brain lie in no standard space
        assert [line for line in lines if line.startswith(f"rux: warning: {name}: ")]
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    assert set(found) == set(SHAPES)
    for name, path in found.items():
        mask, scan = nibabel.load(path), nibabel.load(small / "data" / name)
        assert set(np.unique(mask.dataobj)) <= {0, 1}
        assert mask.shape == scan.shape
        np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-5)
    assert {(p.stat().st_uid, p.stat().st_gid) for p in folder.rglob("*")} == {(OWNER, OWNER)}


def test_a_scan_that_fails_is_named_and_finished_masks_and_other_files_are_kept(small, engine):
    folder = results(small, OWNER)
    before = {name: (folder / name).stat().st_mtime_ns for name in SHAPES}
    (small / "data/damaged.nii.gz").write_bytes(b"no scan")
    nibabel.save(cube((15, 15, 15)), small / "data/mine.nii.gz")
    (folder / "mine.nii.gz").write_bytes((small / "data/mine.nii.gz").read_bytes())
    done = build(engine, small)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    done = run(engine, small)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if not OURS.fullmatch(line)]
    assert len(errors) == 2
    assert "damaged.nii.gz" in errors[0]
    assert "/results/mine.nii.gz is there and no mask of ours" in errors[1]
    assert done.stdout.count("done before") == len(SHAPES)
    assert {name: (folder / name).stat().st_mtime_ns for name in SHAPES} == before
    assert not (folder / "damaged.nii.gz").exists()
    assert (folder / "mine.nii.gz").read_bytes() == (small / "data/mine.nii.gz").read_bytes()


def test_where_nothing_is_mounted_masks_are_not_made_and_lost(small, engine):
    done = engine.ask("run", "--rm", "rux")
    assert done.returncode == 2
    assert done.stderr.strip() == (
        'rux: /results is not there, so masks would be lost: add -v "$(pwd)/results:/results"'
    )


def test_a_volume_of_atlas_size_with_one_processor_and_3_gib_in_roots_folder(small, engine):
    """1 mm; most of the brain is cut off, because empty slices take no time. Nothing is killed."""
    shutil.rmtree(small / "data")
    (small / "data").mkdir()
    volume, _ = make_subject(0, seed=2, spacing=1.0)
    data = np.zeros_like(volume.data)
    part = np.s_[80:120, 100:140, 80:120]
    data[part] = volume.data[part]
    nifti.write(small / "data/scan.nii.gz", Volume(data, volume.grid))
    assert build(engine, small).returncode == 0
    shutil.rmtree(small / "results", ignore_errors=True)
    folder = results(small, 0)
    done = run(engine, small, "--cpus 1 --memory 3g --name raxnet-test-rux", kept=True)
    killed = engine.inspect("raxnet-test-rux", ".State.OOMKilled")
    engine.ask("rm", "raxnet-test-rux")
    assert (done.returncode, killed) == (0, "false"), done.stderr
    assert all(OURS.fullmatch(line) for line in done.stderr.splitlines()), done.stderr
    assert nibabel.load(folder / "scan.nii.gz").shape == (197, 233, 189)
    assert {(p.stat().st_uid, p.stat().st_gid) for p in folder.iterdir()} == {(0, 0)}


@pytest.mark.parametrize(
    ("missing", "said"),
    [("trained_models", "rux: no weights: put axial.h5"), ("data", "rux: no scan: put .nii or .nii.gz")],
)
def test_what_is_missing_is_said_when_the_image_is_built(here, engine, tmp_path, missing, said):
    copy = tmp_path / "rux"
    shutil.copytree(here, copy)
    shutil.rmtree(copy / missing)
    (copy / missing).mkdir()
    (copy / missing / "README.md").touch()
    done = engine.ask("build", "-t", "rux-incomplete", "--network=none", ".", cwd=copy)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr


def test_bad_weights_are_named_when_the_image_is_built(here, engine, tmp_path):
    copy = tmp_path / "rux"
    shutil.copytree(here, copy)
    (copy / "trained_models/axial.h5").write_bytes(b"no weights")
    done = engine.ask("build", "-t", "rux-incomplete", "--network=none", ".", cwd=copy)
    assert done.returncode != 0
    assert "axial.h5" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
