"""A model's card goes with it, and says when the training was on phantoms."""

import json
from dataclasses import replace

import pytest

from lesions.errors import InputError
from lesions.grid import template_grid
from lesions.provenance import CARD_FILE, ModelCard, read_card, statement

CARD = ModelCard(
    plane="axial",
    fold=3,
    network="raxnet",
    loss="focal_tversky",
    grid=template_grid(),
    canvas=((6, 5), (3, 4)),
    dataset="ATLAS v2.0",
    phantom=False,
    subjects=418,
    validation_subjects=105,
    fold_map="abc",
    data="def",
    epochs=60,
    best_epoch=47,
    parameters=4_837_473,
    software={"tensorflow": "2.16.2"},
)


def test_card_survives_the_model_s_folder(tmp_path):
    CARD.write(tmp_path)
    assert read_card(tmp_path) == CARD
    assert (tmp_path / "assets.extra/raxnet.json").is_file()


def test_statement_says_phantom_or_data_set():
    real = CARD.statement()
    assert "418 subjects of ATLAS v2.0" in real
    assert "not a medical device" in real
    assert "phantom" not in real
    synthetic = replace(CARD, dataset="RAX-Net phantom (seed 0)", phantom=True).statement()
    assert "synthetic" in synthetic
    assert "not fit for real scans" in synthetic
    assert statement("X", 3, False) == replace(CARD, dataset="X", subjects=3).statement()


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("plane"),
        lambda c: c.update(new=1),
        lambda c: c.update(grid={"shape": [1, 2], "affine": []}),
        lambda c: c.update(grid=None),
        lambda c: c.update(canvas=[[1, 2]]),
        lambda c: c.pop("format"),
    ],
)
def test_damaged_card(tmp_path, change):
    CARD.write(tmp_path)
    content = json.loads((tmp_path / CARD_FILE).read_text())
    change(content)
    (tmp_path / CARD_FILE).write_text(json.dumps(content))
    with pytest.raises(InputError, match="damaged"):
        read_card(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", '"card"'])
def test_card_that_is_no_card(tmp_path, text):
    CARD.write(tmp_path)
    (tmp_path / CARD_FILE).write_text(text)
    with pytest.raises(InputError, match="damaged"):
        read_card(tmp_path)


def test_card_that_is_no_text(tmp_path):
    CARD.write(tmp_path)
    (tmp_path / CARD_FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="damaged"):
        read_card(tmp_path)


def test_card_of_another_version(tmp_path):
    CARD.write(tmp_path)
    path = tmp_path / CARD_FILE
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(InputError, match="another version"):
        read_card(tmp_path)


def test_folder_without_card(tmp_path):
    with pytest.raises(InputError, match="no raxnet model"):
        read_card(tmp_path)
    (tmp_path / "assets.extra").touch()  # a file where the folder should be
    with pytest.raises(InputError):
        read_card(tmp_path)
