"""Configurations: what is wrong is named, with the rule and what was found."""

import pytest
import yaml

from common import machine
from lesions.errors import InputError
from pipeline import config
from pipeline.cli import init

MINIMAL = {"data": "scans", "root": "out"}


def load(tmp_path, **changes):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(MINIMAL | changes))
    return config.load(path)


def test_defaults_are_the_methods(tmp_path):
    loaded = load(tmp_path)
    assert loaded.planes == ("axial", "sagittal", "coronal")
    assert (loaded.split.folds, loaded.split.holdout) == (5, 0.2)
    training = loaded.training
    assert (training.network, training.loss, training.batch_size) == ("raxnet", "focal_tversky", 32)
    assert (training.learning_rate, training.decay_rate, training.decay_steps) == (1e-3, 0.9, 100_000)
    assert (training.weight_decay, training.batch_norm_momentum) == (0.004, 0.99)


def test_workers_are_the_usable_processors_unless_a_number_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "processors", lambda: 3)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 2**40)
    assert load(tmp_path).processes == 3
    assert load(tmp_path, workers=7).processes == 7


def test_options_of_a_network_are_a_mapping(tmp_path):
    options = {"encoder_units": 1, "residual_attention": False}
    assert load(tmp_path, training={"network_options": options}).training.network_options == options
    with pytest.raises(InputError, match=r"training\.network_options"):
        load(tmp_path, training={"network_options": "ablated"})


def test_paths_are_relative_to_the_file(tmp_path):
    loaded = load(tmp_path, data="scans", root="/elsewhere")
    assert (loaded.data, str(loaded.root)) == (tmp_path / "scans", "/elsewhere")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"plane": ["axial"]}, "plane: no such setting; there are data, root, metadata, planes"),
        ({"training": {"batchsize": 3}}, "training.batchsize: no such setting"),
        ({"training": {"batch_size": 3}}, "batch_size must be an even number of 2 or more, found 3"),
        ({"training": {"epochs": "many"}}, "training.epochs"),
        ({"training": {"optimizer": "lion"}}, "optimizer must be one of adamw, adam, sgd, found 'lion'"),
        (
            {"training": {"augmentation": {"flop": True}}},
            "training.augmentation.flop: no such setting; there are flip, shift, rotation, zoom, gamma",
        ),
        ({"training": {"augmentation": {"zoom": 1}}}, "augmentation.zoom must be at least 0 and below 1"),
        ({"compare": {"losses": ["dice"]}}, "losses must be two or more, named once each, found ('dice',)"),
        ({"planes": ["axial", "oblique"]}, "oblique"),
        ({"planes": []}, "planes must be"),
        ({"planes": ["axial", "axial"]}, "once"),
        ({"train_folds": [6]}, "train_folds must be among 1 to split.folds = 5"),
        ({"split": {"folds": 1}}, "folds must be 2 to 10, found 1"),
        ({"split": {"holdout": 0}}, "holdout must be"),
        ({"fusion": {"rule": "median"}}, "rule must be mean or majority, found 'median'"),
        ({"gates": {"fused_dice": 2}}, "fused_dice must be from 0 to 1"),
        ({"device": "tpu"}, "device must be one of auto, cpu, gpu"),
    ],
)
def test_each_mistake_is_one_line_that_names_it(tmp_path, changes, said):
    with pytest.raises(InputError) as error:
        load(tmp_path, **changes)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert "run.yaml" in str(error.value)


def test_missing_settings_are_named(tmp_path):
    (tmp_path / "run.yaml").write_text("planes: [axial]\n")
    with pytest.raises(InputError, match=r"data.*root"):
        config.load(tmp_path / "run.yaml")


@pytest.mark.parametrize("content", ["", "- a\n- b\n", "a: [", "just text", b"\xff\xfe\x00"])
def test_what_is_no_configuration_is_refused(tmp_path, content):
    path = tmp_path / "run.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=r"run\.yaml"):
        config.load(path)


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match="raxnet init"):
        config.load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "name", ["my: scans #1", "of a length that YAML folds, " * 7, "Schläge\n'\"\\ \U0001f9e0"]
)
@pytest.mark.parametrize("profile", sorted(init.PROFILES))
def test_profiles_load_and_name_odd_paths(tmp_path, profile, name):
    data = tmp_path / name
    path = tmp_path / "run.yaml"
    path.write_text(init.text(profile, data, tmp_path / "out", seed=3))
    loaded = config.load(path)
    assert (loaded.data, loaded.root, loaded.split.seed, loaded.training.seed) == (
        data,
        tmp_path / "out",
        3,
        3,
    )


def test_a_dumped_configuration_loads_the_same(tmp_path):
    loaded = load(
        tmp_path, training={"epochs": 7, "augmentation": {"flip": True, "zoom": 0.1}}, planes=["coronal"]
    )
    assert loaded.training.augmentation.flip
    (tmp_path / "again.yaml").write_text(config.dump(loaded))
    assert config.load(tmp_path / "again.yaml") == loaded


def test_a_metadata_sheet_is_relative_to_the_file_too(tmp_path):
    assert load(tmp_path).metadata is None
    assert load(tmp_path, metadata="sheet.csv").metadata == tmp_path / "sheet.csv"
