"""Records that are wrong stop a real run: what is planted lies in the shards, between the ingest and the statistics."""

import shutil
from contextlib import contextmanager

import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import statistics_pb2

from tests.e2e.conftest import raxnet, write_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prepared(phantom, tmp_path_factory):
    """A run up to the gate: its configuration and root."""
    folder = tmp_path_factory.mktemp("gate")
    config = write_config(folder / "run.yaml", phantom, folder / "root")
    done = raxnet("run", config, "--prepare")
    assert done.returncode == 0, done.stderr
    return config, folder / "root"


@contextmanager
def planted(root, plane, shards, change):
    """Changes every record of some shards; the statistics are deleted, as TFX then makes them anew."""
    statistics = root / f"artifacts/StatisticsGen_{plane}"
    paths = sorted(root.glob(f"artifacts/NiftiExampleGen/examples_{plane}/*/{shards}.tfrecord"))
    assert paths
    before = {path: path.read_bytes() for path in paths}
    try:
        for path in paths:
            examples = [tf.train.Example.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path))]
            with tf.io.TFRecordWriter(str(path)) as writer:
                for example in examples:
                    change(example.features.feature)
                    writer.write(example.SerializeToString())
        shutil.rmtree(statistics)
        yield
    finally:
        for path, content in before.items():
            path.write_bytes(content)
        shutil.rmtree(statistics, ignore_errors=True)


def large_lesion_everywhere(features):
    """In the domain, but no fold of a balanced split looks like that."""
    features["size_category"].int64_list.value[:] = [6]


def category_nine(features):
    features["size_category"].int64_list.value[:] = [9]


def far_away(features):
    features["slice"].int64_list.value[:] = [5000]


def stopped(config, root):
    done = raxnet("run", config)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert not (root / "checkpoints").exists()
    return done.stderr, done.stderr.strip().splitlines()[-1]


def test_a_planted_drift_between_folds(prepared):
    config, root = prepared
    with planted(root, "axial", "Split-fold_2/*", large_lesion_everywhere):
        _, last = stopped(config, root)
    assert "AnomalyGate: records, axial, fold_1 and fold_2: size_category: differs" in last
    assert "split anew (another split.seed, fewer folds), or raise gates.fold_drift" in last


def test_any_difference_between_folds_is_too_much_for_a_gate_of_nothing(prepared, phantom):
    config, root = prepared
    gates = {"slice_dice": 0.0, "fused_dice": 0.0, "fold_drift": 0.0}
    said, last = stopped(write_config(config.with_name("none.yaml"), phantom, root, gates=gates), root)
    assert "AnomalyGate" in last
    assert "size_category" in said


def test_a_planted_value_out_of_range(prepared):
    config, root = prepared
    subject = next(root.glob("artifacts/NiftiExampleGen/examples_coronal/*/Split-fold_3/*")).stem
    with (
        planted(root, "sagittal", f"Split-fold_1/{subject[:7]}*", far_away),
        planted(root, "coronal", f"Split-fold_3/{subject}", category_nine),
    ):
        said, last = stopped(config, root)
    assert "AnomalyGate: records, sagittal, fold_1: slice: " in last
    assert "5000" in last
    assert "mend the scan or mask behind it" in last
    assert "coronal, fold_3: size_category: " in said
    assert len(list(root.glob("artifacts/AnomalyGate/report/*"))) == 1  # stopped runs leave none


def test_without_the_plants_the_gate_opens_and_leaves_its_tables(prepared):
    config, root = prepared
    done = raxnet("run", config, "--prepare")
    assert done.returncode == 0, done.stderr
    tables = {path.name for path in root.glob("artifacts/AnomalyGate/report/*/*")}
    assert tables == {"anomalies.csv", "drift.csv"}


def test_no_pixels_in_the_statistics_of_a_run(prepared):
    _, root = prepared
    files = list(root.glob("artifacts/StatisticsGen_*/statistics/*/Split-*/FeatureStats.pb"))
    assert len(files) >= 9
    for path in files:
        content = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
        features = {feature.path.step[0]: feature for feature in content.datasets[0].features}
        assert len(features) == 9
        for name in ("image", "mask"):
            assert not features[name].string_stats.top_values
            assert not features[name].string_stats.rank_histogram.buckets
        assert path.stat().st_size < 30_000
