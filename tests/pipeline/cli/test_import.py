"""`raxnet import` and `raxnet export h5`: files to models and back, as a person types them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from lesions import nifti
from lesions.grid import ATLAS_SHAPE, template_grid
from lesions.phantom.subject import make_subject
from lesions.provenance import read_card
from lesions.slices import PLANES, canvas, slice_shape
from pipeline.cli import main
from serving.predictor import newest_version, open_models
from tests.trainer import keras2

ROOT = Path(__file__).parents[3]


def pads(plane):
    padding = canvas(ATLAS_SHAPE, plane)
    return padding.rows, padding.columns


@pytest.fixture(scope="module")
def weights():
    return keras2.settled()


@pytest.fixture(scope="module")
def axial(weights, tmp_path_factory):
    """axial.h5 as Keras 2 saves it, and its network."""
    network = keras2.build(*keras2.CANVAS["axial"])
    network.set_weights(weights)
    path = tmp_path_factory.mktemp("authors") / "axial.h5"
    network.save(path)
    return network, path


def of_plane(path, plane, folder, name=""):
    """A copy with the input of another plane: weights do not depend on it."""
    copy = folder / (name or f"{plane}.h5")
    shutil.copy(path, copy)
    with h5py.File(copy, "r+") as file:
        content = json.loads(file.attrs["model_config"])
        content["config"]["layers"][0]["config"]["batch_input_shape"] = [None, *keras2.CANVAS[plane], 1]
        file.attrs["model_config"] = json.dumps(content)
    return copy


def call(*words):
    return main.main(["import", *map(str, words)])


def some_slices(plane, n=2):
    return (
        np.random.default_rng(5).gamma(2.0, 300.0, (n, *slice_shape(ATLAS_SHAPE, plane))).astype(np.float32)
    )


def files(folder):
    return sorted(path for path in folder.rglob("*"))


def test_versions_are_added_and_the_size_decides_the_plane(axial, tmp_path, capsys):
    """Into a folder of models: nothing there is changed; a file's name does not count, and that is said."""
    out = tmp_path / "models"
    assert call(axial[1], out) == 0
    said = capsys.readouterr()
    version = newest_version(out / "axial")
    assert said.out.startswith(
        f"axial  version {version.name}  {axial[1]}\nTrained on ATLAS v2.0, as published by "
    )
    assert "no model of sagittal and coronal; masks are fused from the other planes" in said.err
    assert [path.name for path in out.iterdir()] == ["axial"]
    card = read_card(version)
    assert (card.fold, card.subjects, card.members, card.phantom) == (0, 0, (), False)
    assert "which subjects is not known" in card.statement()
    assert card.source.startswith("axial.h5, SHA-256 ")
    assert (version / "assets.extra/tf_serving_warmup_requests").is_file()
    before = {path: path.read_bytes() for path in files(out) if path.is_file()}
    misnamed = of_plane(axial[1], "axial", tmp_path, "coronal.h5")
    assert call(misnamed, out, "--dataset", "ours") == 0
    assert f"{misnamed}: named coronal, but its input has the size of axial" in capsys.readouterr().err
    assert len(list((out / "axial").iterdir())) == 2
    assert {path: path.read_bytes() for path in before} == before
    assert open_models(out).planes == ("axial",)
    assert open_models(out).card("axial").dataset == "ours"


def refused(capsys, *words):
    assert call(*words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("raxnet import: ")
    return said.err


def test_what_cannot_be_imported_leaves_nothing(axial, tmp_path, capsys):
    good, out = axial[1], tmp_path / "models"
    twin = of_plane(good, "axial", tmp_path, "twin.h5")
    assert f"{twin}: of the axial plane, as {good} is; give one of them" in refused(capsys, good, twin, out)
    cut = tmp_path / "coronal.h5"
    cut.write_bytes(good.read_bytes()[:100_000])
    assert f"{cut}: truncated or damaged" in refused(capsys, good, cut, out)
    small = tmp_path / "small.h5"
    keras2.build(32, 48).save(small)
    expected = "must be one of 208 x 240 (axial), 240 x 208 (sagittal), 208 x 208 (coronal), found 32 x 48"
    assert expected in refused(capsys, small, out)
    assert "an output folder are needed" in refused(capsys, good)
    assert not out.exists()


def test_folders_that_are_no_folders_of_models(axial, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    out.write_text("a file")
    assert f"{out}: cannot be written" in refused(capsys, axial[1], out)
    out.unlink()
    out.mkdir()
    (out / "thesis.tex").write_text("x")
    assert f"{out}: holds other things than models" in refused(capsys, axial[1], out)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


def test_models_of_another_grid_are_not_mixed_with(axial, tmp_path, capsys):
    from tests.serving.conftest import save_model

    out = tmp_path / "models"
    save_model(out / "coronal" / "3", "coronal")
    before = files(out)
    assert "give models of one grid" in refused(capsys, axial[1], out)
    assert files(out) == before


@pytest.mark.slow
def test_an_interrupted_import_leaves_nothing(axial, tmp_path):
    """Interrupted while it exports, as soon as there are files of a first model."""
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli.main", "import", axial[1], tmp_path / "models"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs are started deaf to it, and hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not any((tmp_path / "tmp").rglob("variables")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert "raxnet import: interrupted;" in process.communicate(timeout=120)[1]
    assert process.returncode == 130
    assert not (tmp_path / "models").exists()
    assert not any((tmp_path / "tmp").glob("raxnet-import-*"))


def test_what_keras_2_has_no_place_for_is_not_exported(tmp_path, capsys):
    from tests.serving.conftest import make_card, save_model
    from trainer import networks, signatures
    from trainer.job import weights_digest

    assert main.main(["export", "h5", str(tmp_path), str(tmp_path / "out")]) == 2
    assert "no <plane>/<version>/saved_model.pb here" in capsys.readouterr().err
    save_model(tmp_path / "axial" / "3", "axial")
    assert main.main(["export", "h5", str(tmp_path), str(tmp_path / "out")]) == 2
    said = (
        "must be one raxnet network for (197, 233, 189) voxels, found tiny for (12, 14, 10); export another"
    )
    assert said in capsys.readouterr().err
    shape, padding = slice_shape(ATLAS_SHAPE, "axial"), canvas(ATLAS_SHAPE, "axial")
    ablation = networks.build("raxnet", *padding.padded(*shape), options={"decoder_units": 1})
    card = replace(make_card("axial", template_grid()), network="raxnet", weights=weights_digest(ablation))
    signatures.export(ablation, shape, padding, tmp_path / "axial" / "4", card=card)
    assert main.main(["export", "h5", str(tmp_path), str(tmp_path / "out")]) == 2
    assert "axial/4: not the method's own network, or damaged; export another" in capsys.readouterr().err
    (tmp_path / "axial/4/variables/variables.index").write_bytes(b"cut")
    assert main.main(["export", "h5", str(tmp_path), str(tmp_path / "out")]) == 2
    assert "or damaged" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def authors(weights, tmp_path_factory):
    """The three files as the authors have them, each of other weights, and their networks."""
    folder, networks = tmp_path_factory.mktemp("trained_models"), {}
    for number, plane in enumerate(PLANES):
        networks[plane] = keras2.build(*keras2.CANVAS[plane])
        networks[plane].set_weights([weight * (1 - 0.01 * number) for weight in weights])
        networks[plane].save(folder / f"{plane}.h5")
    return folder, networks


@pytest.mark.slow
def test_from_three_files_to_a_mask_and_back(authors, tmp_path, capsys):
    """All planes at their own size: probabilities in process and served; a mask; and the files again."""
    import tf_keras

    from serving.rest_client import open_server
    from tests.serving.server import Server

    folder, networks = authors
    out = tmp_path / "models"
    assert call(*sorted(folder.iterdir()), out) == 0
    assert capsys.readouterr().err == ""
    server = Server(out)
    try:
        for plane in PLANES:
            slices = some_slices(plane)
            expected = keras2.answer(networks[plane], slices, pads(plane))
            assert expected.std() > 0.05
            found = open_models(out).predict(plane, slices)
            np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
            np.testing.assert_array_equal(open_server(server.url).predict(plane, slices), found)
    finally:
        assert server.stop()[0] == 0
    nifti.write(tmp_path / "scan.nii.gz", make_subject(1, spacing=6.0)[0])
    assert (
        main.main(["segment", str(tmp_path / "scan.nii.gz"), str(tmp_path / "masks"), "--models", str(out)])
        == 0
    )
    assert "on which subjects is not known" in capsys.readouterr().out
    assert main.main(["export", "h5", str(out), str(tmp_path / "h5")]) == 0
    for plane in PLANES:
        loaded = tf_keras.models.load_model(tmp_path / "h5" / f"{plane}.h5")
        for found, expected in zip(loaded.get_weights(), networks[plane].get_weights(), strict=True):
            np.testing.assert_array_equal(found, expected)
    slices = some_slices(plane, 1)
    both = [keras2.answer(network, slices, pads(plane)) for network in (loaded, networks[plane])]
    np.testing.assert_array_equal(*both)
    assert call(tmp_path / "h5" / f"{plane}.h5", tmp_path / "again") == 0
    first, second = (read_card(newest_version(where / plane)) for where in (out, tmp_path / "again"))
    assert second == replace(first, source=second.source)


@pytest.mark.slow
def test_models_in_the_method_s_own_order_and_in_the_cheaper_one_become_the_same_file(
    axial, tmp_path, monkeypatch
):
    """Exported before there was a cheaper order, and since."""
    import tf_keras

    from trainer import signatures

    network, path = axial
    assert call(path, tmp_path / "now") == 0
    monkeypatch.setattr(signatures, "rearrange", lambda made: made)
    assert call(path, tmp_path / "before") == 0
    for models in ("now", "before"):
        out = tmp_path / f"h5-{models}"
        assert main.main(["export", "h5", str(tmp_path / models), str(out)]) == 0
        loaded = tf_keras.models.load_model(out / "axial.h5")
        for found, expected in zip(loaded.get_weights(), network.get_weights(), strict=True):
            np.testing.assert_array_equal(found, expected)
