"""The compiled pipeline: read by Kubeflow's own loader, and carried out step by step from its text alone."""

import filecmp
import json

import kfp.components
import numpy as np
import pandas as pd
import pytest
import yaml

from lesions.slices import slice_shape
from serving.predictor import SavedModelPredictor, open_models
from tests.e2e.conftest import SETTINGS, newest, raxnet, warm, write_config
from tests.e2e.kubeflow_cluster import ROOT, Cluster

pytestmark = pytest.mark.slow
IMAGE = "example.org/raxnet-pipeline@sha256:" + "0" * 64


def compiled(folder, data, root, **settings):
    """Configuration and compiled pipeline."""
    kubeflow = {
        "image": IMAGE,
        "home": str(ROOT),
        "mount": str(data.parents[-2]),
        "trainer_gpus": 1,
    } | settings
    config = write_config(folder / "run.yaml", data, root, training=SETTINGS["training"] | {"epochs": 2})
    config.write_text(config.read_text() + "\n" + yaml.safe_dump({"kubeflow": kubeflow}))
    done = raxnet("compile", config, folder / "pipeline.yaml")
    return config, folder / "pipeline.yaml", done


@pytest.fixture(scope="module")
def cluster(phantom, tmp_path_factory):
    """A pipeline that ran on the cluster, from the phantom to pushed models; other epochs than compiled, on purpose."""
    folder = tmp_path_factory.mktemp("kubeflow")
    _, file, done = compiled(folder, phantom, folder / "volume")
    assert done.returncode == 0, done.stderr
    made = Cluster(file, folder, warm(), {"epochs": SETTINGS["training"]["epochs"]})
    made.order, made.root = made.run(), folder / "volume"
    return made


@pytest.fixture(scope="module")
def local(finished):
    """What the local runner made of the same."""
    return finished[-1]


def test_kubeflows_own_loader_reads_it(cluster, tmp_path):
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(cluster.spec))
    loaded = kfp.components.load_component_from_file(str(tmp_path / "spec.yaml"))
    assert set(loaded.component_spec.inputs) == {"data", "epochs", "batch_size"}
    assert loaded.component_spec.inputs["epochs"].default == 2


def test_every_step_ran_and_the_models_are_pushed(cluster):
    assert len(cluster.order) == len(cluster.spec["root"]["dag"]["tasks"])
    assert (cluster.output("reportgen", "report") / "report.html").stat().st_size > 50_000
    (release,) = (cluster.root / "serving_models/releases").glob("*.json")
    assert set(json.loads(release.read_text())["models"]) == {"axial"}


def test_folds_and_records_equal_the_local_runners(cluster, local):
    mine, theirs = cluster.output("foldgen", "fold_map"), newest(local, "FoldGen/fold_map/*")
    assert (mine / "folds.csv").read_bytes() == (theirs / "folds.csv").read_bytes()
    for plane in ("axial", "sagittal", "coronal"):
        mine = cluster.output("niftiexamplegen", f"examples_{plane}")
        theirs = newest(local, f"NiftiExampleGen/examples_{plane}/*")
        shards = {path.relative_to(theirs) for path in theirs.rglob("*.tfrecord")}
        assert shards == {path.relative_to(mine) for path in mine.rglob("*.tfrecord")} != set()
        assert filecmp.cmpfiles(mine, theirs, map(str, shards), shallow=False)[1:] == ([], [])


def test_evaluations_and_models_equal_the_local_runners(cluster, local):
    mine = pd.read_csv(cluster.output("sliceevaluator-axial-1", "evaluation") / "slices.csv")
    theirs = pd.read_csv(newest(local, "SliceEvaluator_axial_1/evaluation/*") / "slices.csv")
    pd.testing.assert_frame_equal(mine, theirs)
    answers = []
    for models in (cluster.root / "serving_models", local / "serving_models"):
        predictor = open_models(models)
        assert isinstance(predictor, SavedModelPredictor)
        shape = slice_shape(predictor.card("axial").grid.shape, "axial")
        slices = np.random.default_rng(0).uniform(0, 900, (5, *shape)).astype(np.float32)
        answers.append(predictor.predict("axial", slices))
    np.testing.assert_allclose(*answers, atol=1e-5)
    assert answers[0].std() > 0
