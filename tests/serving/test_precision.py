"""bfloat16 where it is asked for, and where the machine has it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from lesions import nifti
from lesions.errors import InputError
from lesions.grid import Volume
from pipeline.cli import main
from serving import device
from tests.serving.conftest import ASYMMETRIC, make_card
from tests.serving.server import ROOT, Server


def test_where_bfloat16_is_refused(tmp_path, models, monkeypatch, capsys):
    scan = str(tmp_path / "scan.nii.gz")
    nifti.write(scan, Volume(np.ones(ASYMMETRIC.shape, np.float32), ASYMMETRIC))
    words = ["segment", scan, str(tmp_path / "out"), "--precision", "bfloat16"]
    assert main.main([*words, "--server", "http://127.0.0.1:1"]) == 2
    assert "--precision: the server has its own" in capsys.readouterr().err
    monkeypatch.setattr(device, "has_bfloat16", lambda: False)
    for command in ([*words, "--models", str(models)], ["serve", str(models), "--precision", "bfloat16"]):
        assert main.main(command) == 2
        assert "AVX-512 BF16 or AMX is needed" in capsys.readouterr().err
    with pytest.raises(InputError, match="expected float32 or bfloat16, found 'half'"):
        device.compute_in("half")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A folder with a small RAX-Net for axial slices."""
    from lesions.slices import canvas, slice_shape
    from trainer import fit, signatures
    from trainer.settings import TrainingSettings

    folder, plane = tmp_path_factory.mktemp("network"), "axial"
    shape, padding = slice_shape(ASYMMETRIC.shape, plane), canvas(ASYMMETRIC.shape, plane)
    model = fit.build(TrainingSettings(), shape, padding)
    signatures.export(model, shape, padding, folder / plane / "1", card=make_card(plane))
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not device.has_bfloat16(), reason="no processor here that multiplies in bfloat16")
def test_bfloat16_moves_probabilities_a_little_by_command_and_by_server(tmp_path, network, scan_data):
    nifti.write(tmp_path / "scan.nii.gz", Volume(scan_data(), ASYMMETRIC))
    found, sidecars = {}, {}
    for precision in device.PRECISIONS:
        command = [sys.executable, "-m", "pipeline.cli.main", "segment", str(tmp_path / "scan.nii.gz")]
        command += [str(tmp_path / precision), "--models", str(network), "--precision", precision, "--json"]
        done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True)
        (sidecars[precision],) = json.loads(done.stdout)
        found[precision] = nifti.read(sidecars[precision]["Mask"].replace("_mask", "_probseg")).data
    difference = np.abs(found["bfloat16"].astype(float) - found["float32"])
    assert 0 < difference.max() < 0.5
    assert difference.mean() < 0.02
    kept = {precision: one["Models"]["axial"].get("Precision") for precision, one in sidecars.items()}
    assert kept == {"float32": None, "bfloat16": "bfloat16"}
    asked = {"instances": scan_data()[None, :, :, 3].tolist()}
    answers = {}
    for precision in device.PRECISIONS:
        server = Server(network, "--precision", precision)
        answers[precision] = np.array(server.predict("axial", asked).json()["predictions"])
        server.stop()
    difference = np.abs(answers["bfloat16"] - answers["float32"])
    assert 0 < difference.max() < 0.5
