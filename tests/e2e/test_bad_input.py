"""Bad input: one line that says what, where and what to do; exit status 2; nothing left behind."""

import gzip
import shutil

import nibabel as nib
import numpy as np
import pytest

from tests.e2e.conftest import raxnet, write_config


@pytest.fixture
def data(phantom, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(phantom, tmp_path / "data")


def images(data):
    return sorted(data.glob("Training/*/sub-*/ses-*/anat/*_T1w.nii.gz"))


def masks(data):
    return sorted(data.glob("Training/*/sub-*/ses-*/anat/*_mask.nii.gz"))


def keep(data, subjects):
    for path in images(data)[subjects:]:
        shutil.rmtree(path.parents[2])


def refused(tmp_path, data, *said, root=None, **changes):
    """The run must fail at once, in one line, and leave no root behind."""
    root = root or tmp_path / "root"
    done = raxnet("run", write_config(tmp_path / "run.yaml", data, root, **changes))
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert lines[-1].startswith("raxnet run: ")
    for text in said:
        assert text in lines[-1]
    return lines, root


def test_no_data_set(tmp_path):
    lines, root = refused(tmp_path, tmp_path / "nowhere", "nowhere", "no such folder")
    assert len(lines) == 1
    assert not root.exists()


def test_an_empty_folder(tmp_path):
    (tmp_path / "data").mkdir()
    lines, root = refused(tmp_path, tmp_path / "data", "no scan found", "_T1w.nii.gz")
    assert len(lines) == 1
    assert not root.exists()


def test_no_masks(data, tmp_path):
    for path in masks(data):
        path.unlink()
    lines, root = refused(tmp_path, data, "no lesion mask")
    assert len(lines) == 1
    assert not root.exists()


@pytest.mark.parametrize("subjects", [1, 3])
def test_too_few_subjects_for_the_folds(data, tmp_path, subjects):
    keep(data, subjects)
    lines, root = refused(tmp_path, data, f"{subjects} subjects", "3 folds", "lower split.folds")
    assert len(lines) == 1
    assert not root.exists()


def test_an_unwritable_output(data, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    lines, _ = refused(tmp_path, data, "cannot be written", root=tmp_path / "file" / "root")
    assert len(lines) == 1
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_gpu_that_is_not_there(data, tmp_path):
    lines, root = refused(tmp_path, data, "device: gpu", device="gpu")
    assert len(lines) == 1
    assert not list(root.glob("artifacts*"))


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def empty_mask(path):
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), path)


def no_nifti(path):
    path.write_bytes(gzip.compress(b"not an image" * 100))


def nan(path):
    image = nib.load(path)
    voxels = np.asarray(image.dataobj, np.float32).copy()
    voxels[5, 5, 5] = np.nan
    nib.save(nib.Nifti1Image(voxels, image.affine), path)


@pytest.mark.parametrize(
    ("which", "damage"), [(masks, empty_mask), (images, truncate), (images, no_nifti), (images, nan)]
)
def test_strict_stops_at_a_file_that_cannot_be_used(data, tmp_path, which, damage):
    path = which(data)[3]
    damage(path)
    lines, root = refused(tmp_path, data, "DatasetValidator", "strict", strict=True)
    assert any(path.name in line for line in lines)
    assert not list((root / "artifacts").glob("DatasetValidator/manifest/*"))


def test_too_few_usable_subjects_stop_the_run_too(data, tmp_path):
    for path in images(data)[:11]:
        truncate(path)
    lines, root = refused(tmp_path, data, "FoldGen", "3 folds", "found 2")
    assert sum("put aside" in line for line in lines) == 11
    assert not list((root / "artifacts").glob("FoldGen/fold_map/*"))


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ({"network": "raxnot"}, "training.network: 'raxnot' is not among clcinet, dunet, raxnet, xnet"),
        ({"network_options": {"unit": 1}}, "raxnet has no option 'unit'; it has encoder_units"),
        ({"loss": "dise"}, "training.loss: 'dise' is not among cross_entropy_dice, dice"),
    ],
)
def test_an_unknown_name_lists_the_known_ones_before_anything_is_done(data, tmp_path, training, said):
    _, root = refused(tmp_path, data, said, training=training)
    assert not root.exists()


@pytest.mark.parametrize("content", ["planes: [axial", "data: x\nroot: y\nplane: [axial]\n"])
def test_a_wrong_configuration(tmp_path, content):
    (tmp_path / "run.yaml").write_text(content)
    done = raxnet("run", tmp_path / "run.yaml")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "run.yaml" in done.stderr


def test_an_unknown_command_says_which_there_are():
    done = raxnet("trian")
    assert done.returncode == 2
    assert "segment" in done.stderr


def test_help_has_an_example_of_every_command():
    from pipeline.cli.main import COMMANDS

    for module in COMMANDS:
        command = module.rstrip("_")
        done = raxnet(command, "--help")
        assert done.returncode == 0
        assert f"example: raxnet {command}" in done.stdout
