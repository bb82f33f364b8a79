"""`raxnet segment` as a process: what a person types, what is printed, how it ends."""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lesions import nifti
from lesions.errors import InputError
from lesions.grid import Grid, Volume, template_grid
from lesions.phantom import make_subject
from pipeline.cli import main, segment

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scan(tmp_path, scan_data):
    """A 4 mm scan stored from left to posterior to superior, on a grid that is not the models'."""
    shape = (50, 58, 47)
    grid = Grid.of(shape, [[-4, 0, 0, 98], [0, -4, 0, 98], [0, 0, 4, -72], [0, 0, 0, 1]])
    nifti.write(tmp_path / "pat 7.nii.gz", Volume(scan_data(shape), grid))
    return tmp_path / "pat 7.nii.gz"


def test_a_scan_becomes_a_mask_in_a_process_of_its_own(tmp_path, models, scan):
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli.main", "segment", scan, tmp_path / "out", "--models", models],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    mask = tmp_path / "out/sub-pat7/anat/sub-pat7_space-orig_label-L_desc-raxnet_mask.nii.gz"
    assert lines[0].startswith("device: ")
    assert "phantom data, not fit for real scans" in lines[1]
    assert len(lines) == 3
    assert lines[2].startswith("sub-pat7  ")
    assert lines[2].endswith(f" s  {mask}")
    warning = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(warning) == 1
    assert "MNI space" in warning[0]
    image, original = nib.load(mask), nib.load(scan)
    assert image.shape == original.shape
    np.testing.assert_array_equal(image.affine, original.affine)


def call(*words):
    return main.main(["segment", *map(str, words)])


def test_flip_is_said_in_the_sidecar(tmp_path, models, scan, capsys):
    volumes = []
    for words in ((), ("--flip",)):
        assert call(scan, tmp_path / "out", "--models", models, "--json", *words) == 0
        (sidecar,) = json.loads(capsys.readouterr().out)
        assert sidecar["FlipAveraged"] is bool(words)
        volumes.append(np.asanyarray(nib.load(sidecar["Mask"].replace("_mask", "_probseg")).dataobj))
    assert not np.array_equal(*volumes)


def test_bids_folder_twice_and_the_table(tmp_path, models, scan_data, capsys):
    for number in (1, 2):
        name = tmp_path / f"raw/sub-{number}/anat/sub-{number}_T1w.nii.gz"
        nifti.write(name, Volume(scan_data(template_grid(6.0).shape), template_grid(6.0)))
    words = (tmp_path / "raw", tmp_path / "out", "participant", "--models", models)
    assert call(*words) == 0
    assert capsys.readouterr().out.count(" ml  ") == 2
    assert call(*words) == 0
    assert capsys.readouterr().out.count("done before") == 2
    assert call(tmp_path / "raw", tmp_path / "out", "group") == 0
    assert "group_lesions.tsv" in capsys.readouterr().out
    assert len((tmp_path / "out/group_lesions.tsv").read_text().splitlines()) == 3
    assert call(*words, "--participant-label", "2", "--json") == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["Mask"].endswith("sub-2_space-orig_label-L_desc-raxnet_mask.nii.gz")
    assert answer["Planes"] == ["axial", "sagittal", "coronal"]


def test_one_bad_scan_among_others_ends_with_1(tmp_path, models, scan, capsys):
    (tmp_path / "bad.nii.gz").write_bytes(scan.read_bytes()[:2000])
    assert call(scan, tmp_path / "bad.nii.gz", tmp_path / "out", "--models", models) == 1
    said = capsys.readouterr()
    assert said.out.count(" ml  ") == 1
    assert len([line for line in said.err.splitlines() if "bad.nii.gz" in line]) == 1


@pytest.mark.parametrize(
    "case", ["truncated", "missing", "nan", "no models", "out is a file", "out missing", "threshold"]
)
def test_bad_input_ends_with_2_in_one_line_and_leaves_nothing(tmp_path, models, scan, case, capsys):
    out, words = tmp_path / "out", []
    if case == "truncated":
        scan.write_bytes(scan.read_bytes()[:2000])
    elif case == "missing":
        scan.unlink()
    elif case == "nan":
        volume = nifti.read(scan)
        volume.data[1, 1, 1] = np.nan
        nifti.write(scan, volume)
    elif case == "out is a file":
        out.touch()
    elif case == "threshold":
        words = ["--threshold", "1.5"]
    before = sorted(tmp_path.rglob("*"))
    paths = [scan] if case == "out missing" else [scan, out]
    trained = tmp_path / "none" if case == "no models" else models
    assert call(*paths, "--models", trained, *words) == 2
    said = capsys.readouterr()
    assert said.err.startswith("raxnet segment: ")
    assert len(said.err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_models_have_a_default(tmp_path, models, scan, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(scan, "out") == 2
    assert "--models" in capsys.readouterr().err
    (tmp_path / "serving_models").symlink_to(models)
    assert call(scan, "out") == 0


def test_arguments():
    assert segment.split_paths(["a", "b"]) == (["a"], Path("b"), "participant")
    assert segment.split_paths(["a", "b", "group"]) == (["a"], Path("b"), "group")
    assert segment.split_paths(["a", "b", "c", "participant"]) == (["a", "b"], Path("c"), "participant")
    for short in (["a"], ["a", "group"], ["participant"]):
        with pytest.raises(InputError, match="output folder"):
            segment.split_paths(short)


def test_flags_of_a_bids_app(tmp_path, models, scan_data, capsys):
    """Both spellings, labels with and without their key; strict refuses, and says so with 1 among others."""
    for subject, session in (("1", "a"), ("1", "b"), ("2", "a")):
        name = tmp_path / f"raw/sub-{subject}/ses-{session}/anat/sub-{subject}_ses-{session}_T1w.nii.gz"
        nifti.write(name, Volume(scan_data(template_grid(6.0).shape), template_grid(6.0)))
    words = (tmp_path / "raw", tmp_path / "out", "participant", "--models", models)
    assert call(*words, "--participant_label", "1", "--session_label", "b", "--skip_bids_validator") == 0
    assert "sub-1 ses-b" in capsys.readouterr().out
    assert (
        call(*words, "--participant-label", "sub-1", "--session-label", "ses-b", "--skip-bids-validator") == 0
    )
    assert "done before" in capsys.readouterr().out
    assert call(*words, "--strict") == 1
    assert capsys.readouterr().err.count("MNI space") == 3
    assert call(*words, "--strict", "--participant-label", "2") == 2
    assert not (tmp_path / "out/sub-2").exists()


@pytest.mark.parametrize("flag", ["-v", "--version"])
def test_version(flag, capsys):
    with pytest.raises(SystemExit) as done:
        call(flag)
    assert done.value.code == 0
    assert capsys.readouterr().out.startswith("raxnet 0.")


@pytest.mark.usefixtures("coarse_registration")
def test_registration_in_the_command(tmp_path, models, capsys):
    """A head that was moved is warned of; registered, it is not, and its mask lies on its own grid."""
    head, _ = make_subject(0, 0, 6.0)
    matrix = head.grid.matrix
    matrix[:3, 3] += (25, -20, 10)
    nifti.write(tmp_path / "head.nii.gz", Volume(head.data, Grid.of(head.grid.shape, matrix)))
    assert call(tmp_path / "head.nii.gz", tmp_path / "out", "--models", models) == 0
    assert "register the scan" in capsys.readouterr().err
    words = ("--register", "affine", "--strict", "--json")
    assert call(tmp_path / "head.nii.gz", tmp_path / "out", "--models", models, *words) == 0
    said = capsys.readouterr()
    assert "MNI space" not in said.err
    (sidecar,) = json.loads(said.out)
    assert sidecar["Registered"] == "affine"
    assert (tmp_path / "out" / sidecar["Registration"]["Transform"].removeprefix("bids::")).is_file()
    np.testing.assert_array_equal(nib.load(sidecar["Mask"]).affine, matrix)


def test_the_documents_name_every_option_and_no_other():
    parser = argparse.ArgumentParser()
    segment.add_arguments(parser)
    known = {flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")}
    said = set(re.findall(r"--[a-z]+(?:[-_][a-z]+)*", own_commands((ROOT / "docs/segment.md").read_text())))
    assert said - known == {"--subjects"}  # the benchmark's
    assert {flag for flag in known if "_" not in flag} - said == {"--help"}


def own_commands(text):
    """The page without the sections on other people's programs."""
    parts = re.split(r"(?m)^(?=##)", text)
    return "".join(part for part in parts if not part.startswith(("### FreeSurfer", "### FSL")))
