"""The gate finds what ExampleValidator does not: folds that differ; and reads what it does find."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv

from components.anomaly_gate import fold_drifts, read_anomalies, stop_at
from lesions.errors import WorkError
from lesions.slices import Slice
from pipeline.digests import SCHEMA
from trainer.records import encode


def record(number, category, **changes):
    size = 10 * category
    fields = {
        "subject": f"sub-{number % 4}",
        "plane": "axial",
        "slice": number,
        "height": 8,
        "width": 9,
        "image": b"\0\1" * 72,
        "mask": b"\1" * size + b"\0" * (72 - size),
        "lesion_voxels": size,
        "size_category": category,
    }
    return encode(Slice(**(fields | changes)))


@pytest.fixture(scope="module")
def schema():
    return tfdv.load_schema_text(str(SCHEMA))


def statistics(records, schema, **options):
    """Of records in memory: a Beam pipeline, as a run has (tests/e2e/test_gate.py), takes three seconds for them."""
    features = [tf.train.Example.FromString(one).features.feature for one in records]
    rows = [{name: value(one[name]) for name in one} for one in features]
    made = tfdv.StatsOptions(schema=schema, **options)
    return tfdv.generate_statistics_from_dataframe(pd.DataFrame(rows), made)


def value(feature):
    kind = feature.WhichOneof("kind")
    return getattr(feature, kind).value[0]


def write(folder, split, content):
    (folder / f"Split-{split}").mkdir(parents=True)
    (folder / f"Split-{split}" / "FeatureStats.pb").write_bytes(content.SerializeToString())


def draw(seed, shares):
    return np.random.default_rng(seed).choice(len(shares), 300, p=shares)


ALIKE, OTHER = [0.6, 0.1, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1, 0.6]


def test_alike_folds_pass_and_a_planted_drift_is_found(tmp_path, schema):
    for split, seed, shares in [("fold_1", 1, ALIKE), ("fold_2", 2, ALIKE), ("fold_3", 3, OTHER)]:
        records = [record(i, int(c)) for i, c in enumerate(draw(seed, shares))]
        write(tmp_path / "statistics", split, statistics(records, schema))
    table = fold_drifts(tmp_path / "statistics", "axial", schema, 0.1).set_index("fold")
    assert len(table) == 3
    assert table.loc["fold_1 and fold_2", "problem"] == ""
    assert table.loc["fold_1 and fold_2", "divergence"] < 0.05
    for pair in ("fold_1 and fold_3", "fold_2 and fold_3"):
        assert "differs between" in table.loc[pair, "problem"]
        assert table.loc[pair, "divergence"] > 0.1
    said = "axial, fold_1 and fold_3: size_category: differs .*raise gates.fold_drift .findings: 2"
    with pytest.raises(WorkError, match=said):
        stop_at(read_anomalies(tmp_path, "axial"), table.reset_index())


@pytest.mark.parametrize(
    ("changes", "feature"),
    [
        ({"size_category": 7}, "size_category"),
        ({"size_category": -1}, "size_category"),
        ({"plane": "oblique"}, "plane"),
        ({"height": 0}, "height"),
        ({"width": 5000}, "width"),
        ({"slice": 1024}, "slice"),
        ({"lesion_voxels": -3}, "lesion_voxels"),
    ],
)
def test_a_value_out_of_its_domain_is_an_anomaly_with_its_fold(tmp_path, schema, changes, feature):
    records = [record(i, i % 5) for i in range(20)] + [record(99, 1, **changes)]
    found = tfdv.validate_statistics(statistics(records, schema), schema)
    (tmp_path / "anomalies" / "Split-fold_2").mkdir(parents=True)
    (tmp_path / "anomalies" / "Split-fold_2" / "SchemaDiff.pb").write_bytes(found.SerializeToString())
    table = read_anomalies(tmp_path / "anomalies", "axial")
    assert table[["plane", "fold", "feature"]].to_numpy().tolist() == [["axial", "fold_2", feature]]
    assert table["problem"].iloc[0]
    with pytest.raises(WorkError, match=f"axial, fold_2: {feature}: .*; mend the scan or mask") as told:
        stop_at(table, fold_drifts(tmp_path, "axial", schema, 0.1))
    assert "\n" not in str(told.value)


def test_good_records_are_a_row_without_a_problem(tmp_path, schema):
    records = [record(i, i % 5) for i in range(20)]
    found = tfdv.validate_statistics(statistics(records, schema), schema)
    for fold in ("fold_1", "fold_2"):
        (tmp_path / f"anomalies/Split-{fold}").mkdir(parents=True)
        (tmp_path / f"anomalies/Split-{fold}/SchemaDiff.pb").write_bytes(found.SerializeToString())
    table = read_anomalies(tmp_path / "anomalies", "coronal")
    expected = [["coronal", "fold_1", "(all)", ""], ["coronal", "fold_2", "(all)", ""]]
    assert table.to_numpy().tolist() == expected
    stop_at(table, fold_drifts(tmp_path, "coronal", schema, 0.1))


def test_a_fold_without_the_feature_is_not_passed_in_silence(tmp_path, schema):
    records = [record(i, i % 5) for i in range(20)]
    write(tmp_path / "statistics", "fold_1", statistics(records, schema))
    write(tmp_path / "statistics", "fold_2", statistics(records, schema, feature_allowlist=["slice"]))
    table = fold_drifts(tmp_path / "statistics", "axial", schema, 0.1)
    with pytest.raises(WorkError, match="axial, fold_1 and fold_2: size_category: could not be compared"):
        stop_at(read_anomalies(tmp_path, "axial"), table)


def test_no_pixel_value_is_kept_in_the_statistics(tmp_path, schema):
    secret = b"PIXELS-OF-A-PERSON" * 8
    with tf.io.TFRecordWriter(str(tmp_path / "records")) as writer:
        for number in range(20):
            writer.write(record(number, 0, image=secret))
    options = tfdv.StatsOptions(schema=schema)
    made = tfdv.generate_statistics_from_tfrecord(str(tmp_path / "records"), stats_options=options)
    assert made.datasets[0].num_examples == 20
    assert b"PIXELS" not in made.SerializeToString()
