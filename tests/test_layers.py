"""What holds the tree together."""

import dataclasses
import importlib.metadata

import pytest
import tensorflow_data_validation as tfdv

from lesions.slices import Slice
from pipeline import digests
from trainer.records import FEATURES

LAYERS = ("pipeline", "components", "trainer", "serving", "reports", "lesions", "common")


def test_schema_features_are_the_fields_of_a_slice():
    fields = {field.name for field in dataclasses.fields(Slice)}
    assert {feature.name for feature in tfdv.load_schema_text(str(digests.SCHEMA)).feature} == fields
    assert set(FEATURES) == fields


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_belongs_to_our_distribution_alone(layer):
    owners = set(importlib.metadata.packages_distributions().get(layer, []))
    assert owners <= {"raxnet-pipeline"}


def test_every_component_has_a_digest_of_files_that_exist():
    assert len({digests.code_digest(name) for name in digests.CODE}) == len(digests.CODE)
    for entries in digests.CODE.values():
        assert all((digests.ROOT / entry).exists() for entry in entries)


def test_a_digest_follows_the_code(tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "ROOT", tmp_path)
    monkeypatch.setitem(digests.CODE, "Toy", ("a.py", "b"))
    (tmp_path / "b").mkdir()
    (tmp_path / "a.py").write_text("1")
    (tmp_path / "b" / "c.py").write_text("2")
    first = digests.code_digest.__wrapped__("Toy")
    (tmp_path / "b" / "c.py").write_text("3")
    assert digests.code_digest.__wrapped__("Toy") != first
