"""The DAG: each setting reaches the nodes that it concerns, and no other."""

from dataclasses import replace
from pathlib import Path

import pytest

from lesions.settings import FusionSettings, GateSettings, SplitSettings
from pipeline.config import Config
from pipeline.digests import CODE, code_digest
from pipeline.local_runner import _without
from pipeline.pipeline import create_pipeline

CONFIG = Config(
    data=Path("/some/data"), root=Path("/some/root"), train_folds=(1, 2, 3, 4, 5), split=SplitSettings()
)


def properties(config):
    """Node -> its parameters; of the report its copy of the whole configuration is left out."""
    nodes = create_pipeline(config, "digest", "/schema/schema.pbtxt").components
    return {
        node.id: {key: str(v) for key, v in node.exec_properties.items() if key != "configuration"}
        for node in nodes
    }


def changed(config):
    before, after = properties(CONFIG), properties(config)
    assert before.keys() == after.keys()
    return {node for node in before if before[node] != after[node]}


def test_every_plane_and_fold_is_trained_and_evaluated():
    nodes = properties(CONFIG)
    for plane in ("axial", "sagittal", "coronal"):
        for fold in range(1, 6):
            assert f"Trainer_{plane}_{fold}" in nodes
            assert f"SliceEvaluator_{plane}_{fold}" in nodes
        assert f"FoldSelector_{plane}" in nodes
    assert len(nodes) == 12 + 3 * (5 + 5 + 1) + 1 + 1 + 3 + 2


@pytest.mark.parametrize(
    "gates", [{"slice_dice": 0.9}, {"fused_dice": 0.9}, {"released_drop": 0.5}, {"slice_dice": 0.0}]
)
def test_a_threshold_concerns_no_node_that_runs_a_model(gates):
    assert changed(replace(CONFIG, gates=GateSettings(**gates))) == {"Blesser"}


@pytest.mark.parametrize(
    ("fusion", "nodes"),
    [
        ({"flip": True}, {"FusionEvaluator"}),
        ({"rule": "majority"}, {"FusionEvaluator"}),
        ({"threshold": 0.4}, {"FusionEvaluator"}),
        ({"ensemble": "all"}, {f"FoldSelector_{p}" for p in ("axial", "sagittal", "coronal")}),
        ({"fold_rule": "dice_3d"}, {f"FoldSelector_{p}" for p in ("axial", "sagittal", "coronal")}),
    ],
)
def test_a_setting_of_the_fusion_trains_and_evaluates_no_fold_again(fusion, nodes):
    assert changed(replace(CONFIG, fusion=FusionSettings(**fusion))) == nodes


def test_models_are_pushed_only_behind_the_gates():
    nodes = {node.id: node for node in create_pipeline(CONFIG, "digest", "/schema/schema.pbtxt").components}
    for plane in ("axial", "sagittal", "coronal"):
        assert nodes["Blesser"] in nodes[f"Pusher_{plane}"].upstream_nodes
    assert {node.id for node in nodes["Blesser"].upstream_nodes} == {
        "FusionEvaluator",
        *(f"FoldSelector_{p}" for p in ("axial", "sagittal", "coronal")),
    }


def test_a_failed_training_takes_only_what_depends_on_it():
    pipeline = create_pipeline(CONFIG, "digest", "/schema/schema.pbtxt")
    every = {node.id for node in pipeline.components}
    kept = _without(pipeline, ["Trainer_axial_2"])
    assert every - set(kept) == {
        "Trainer_axial_2",
        "SliceEvaluator_axial_2",
        "FoldSelector_axial",
        *("FusionEvaluator", "Blesser", "Release", "ReportGen"),
        *(f"Pusher_{p}" for p in ("axial", "sagittal", "coronal")),
    }
    assert kept == [node.id for node in pipeline.components if node.id in kept]
    assert _without(pipeline, []) == [node.id for node in pipeline.components]


@pytest.mark.parametrize("name", sorted(CODE))
def test_each_component_s_code_is_there(name):
    assert len(code_digest(name)) == 16


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ensemble": "some"}, "ensemble must be best or all"),
        ({"fold_rule": "luck"}, "fold_rule must be one of mean, lesion_dice, dice_3d"),
    ],
)
def test_a_wrong_setting_is_told(settings, said):
    with pytest.raises(ValueError, match=said):
        FusionSettings(**settings)
