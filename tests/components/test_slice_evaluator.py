"""Whatever is said of a fold's slices follows from their counts, and TFMA reads it."""

import numpy as np
import pandas as pd
import pytest
import tensorflow_model_analysis as tfma

from components import slice_evaluator
from components.slice_evaluator import SliceEvaluator, figures, subject_scores, summarize
from lesions.grid import template_grid
from lesions.summaries import PUBLISHED, protocols
from trainer.job import Facts

SCORES = ("dice", "recall", "precision")


@pytest.fixture
def drawn(counts):
    def make(seed=0, **options):
        table = counts(**options)
        return table.assign(published=table.index.isin(protocols(table, seed)[PUBLISHED].index).astype(int))

    return make


@pytest.fixture
def evaluated(tmp_path, drawn, artifact, monkeypatch):
    """A function that evaluates made-up counts of a plane and fold; gives the artifact's folder."""

    def run(plane, fold):
        calls = []

        def once(model, examples, k, name):
            calls.append((model, examples, k))
            return drawn(plane=plane, fold=k).drop(columns="published")

        monkeypatch.setattr(slice_evaluator, "slice_counts", once)
        model, examples, out = (tmp_path / f"{kind}_{plane}_{fold}" for kind in ("model", "examples", "out"))
        examples.mkdir()
        Facts("made up", True, "d", "f", template_grid(1.0)).write(examples)
        SliceEvaluator.EXECUTOR_SPEC.executor_class._FUNCTION(
            artifact(model), artifact(examples), artifact(out), plane, fold, 0, "code"
        )
        assert calls == [(model / "Format-Serving", examples, fold)]
        return out

    return run


def score(table, metric, smoothing):
    tp, fp, fn = (table[name].to_numpy(float) for name in ("tp", "fp", "fn"))
    part, whole = {"dice": (2 * tp, 2 * tp + fp + fn), "recall": (tp, tp + fn), "precision": (tp, tp + fp)}[
        metric
    ]
    if smoothing:
        return (part + 1) / (whole + 1)
    return np.divide(part, whole, out=(tp + fp + fn == 0).astype(float), where=whole > 0)


def test_protocols_stand_side_by_side_and_are_not_mixed(drawn):
    table = drawn()
    subjects = subject_scores(table, template_grid(1.0))
    found = summarize(table, subjects, 0).set_index("metric")
    lesion, published = table[table["lesion_voxels"] > 0], table[table["published"] == 1]
    assert len(published) == 2 * len(lesion) < len(table)
    for metric in SCORES:
        row = found.loc[metric]
        for prefix, rows, smoothing in (
            ("published", published, 1),
            ("all", table, 1),
            ("lesion", lesion, 0),
            ("subjects", subjects, 0),
        ):
            values = score(rows, metric, smoothing)
            assert row[f"{prefix}_n"] == len(rows)
            assert row[f"{prefix}_mean"] == pytest.approx(values.mean())
            assert row[f"{prefix}_sd_population"] == pytest.approx(values.std())
            assert row[f"{prefix}_sd_sample"] == pytest.approx(values.std(ddof=1))
            assert row[f"{prefix}_median"] == pytest.approx(np.median(values))
            assert row[f"{prefix}_ci_low"] < row[f"{prefix}_mean"] < row[f"{prefix}_ci_high"]
    empty = 1 / (published["lesion_voxels"] + 1)
    assert found.loc["dice", "published_floor"] == pytest.approx(empty.mean())
    assert found.loc["dice", "lesion_floor"] == 0
    tp, fp, fn = (lesion[name].sum() for name in ("tp", "fp", "fn"))
    assert found.loc["dice", "lesion_pooled"] == pytest.approx(2 * tp / (2 * tp + fp + fn))


def test_subjects_are_scored_from_all_their_slices(drawn):
    table = drawn()
    rows = subject_scores(table, template_grid(1.0)).set_index("subject")
    for subject, part in table.groupby("subject"):
        tp, fp, fn = (part[name].sum() for name in ("tp", "fp", "fn"))
        assert tuple(rows.loc[subject, ["slices", "tp", "fp", "fn"]]) == (40, tp, fp, fn)
        assert rows.loc[subject, "dice"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
        assert rows.loc[subject, "volume_difference"] == abs(fp - fn)
        edges = [0, 5_000, 30_000, 60_000]  # (lo, hi] (docs/spec/method.md#size-categories)
        assert rows.loc[subject, "size_category"] == np.searchsorted(edges, tp + fn)


def test_a_fold_without_normals_or_without_lesion_gives_no_false_number(drawn):
    table = drawn()
    only = table[table["lesion_voxels"] > 0]
    assert summarize(only, None, 0)["published_n"].tolist() == [len(only)] * 3
    none = table[table["lesion_voxels"] == 0].assign(published=0)
    found = summarize(none, None, 0)
    assert found["lesion_n"].tolist() == found["published_n"].tolist() == [0, 0, 0]
    assert found[["lesion_mean", "published_mean", "lesion_pooled"]].isna().all(axis=None)
    assert "lesion_dice" in figures(none, "axial", 1)[()]


def test_tables_are_there_as_csv_and_parquet(evaluated, drawn):
    out = evaluated("axial", 2)
    for name in ("slices", "subjects"):
        pd.testing.assert_frame_equal(
            pd.read_csv(out / f"{name}.csv"), pd.read_parquet(out / f"{name}.parquet")
        )
    pd.testing.assert_frame_equal(pd.read_csv(out / "slices.csv"), drawn(fold=2))
    sizes = pd.read_csv(out / "by_category.csv")
    assert sizes.groupby("size_category")["all_n"].first().sum() == len(drawn(fold=2))


def test_tfma_loads_the_evaluation_and_its_viewer_renders_it(evaluated, drawn):
    out = evaluated("axial", 1)
    result = tfma.load_eval_result(str(out))
    table = drawn()
    found = {key: {n: v["doubleValue"] for n, v in m[""][""].items()} for key, m in result.slicing_metrics}
    sizes = sorted(set(table["size_category"]))
    assert len(sizes) > 4
    size_keys = {(("size_category", size),) for size in sizes}
    crossed = {(("plane", "axial"), ("fold", 1), *key) for key in size_keys}
    assert set(found) == {(), (("plane", "axial"),), (("fold", 1),)} | size_keys | crossed
    for size in sizes:
        rows = table[table["size_category"] == size]
        values = found[(("size_category", size),)]
        assert values["example_count"] == len(rows)
        assert values["all_dice"] == pytest.approx(score(rows, "dice", 1).mean())
        assert ("lesion_dice" in values) == (size > 0)  # a mean over nothing is left out, it is not 0
    assert found[()]["lesion_recall"] == pytest.approx(
        score(table[table["size_category"] > 0], "recall", 0).mean()
    )
    viewer = tfma.view.render_slicing_metrics(result, slicing_column="size_category")
    assert [row["slice"] for row in viewer.data] == [f"size_category:{size}" for size in sizes]


def test_tfma_loads_several_planes_and_folds_at_once(evaluated):
    outs = [str(evaluated(plane, fold)) for plane, fold in (("axial", 1), ("axial", 2), ("coronal", 1))]
    results = tfma.load_eval_results(outs)
    viewer = tfma.view.render_time_series(results)
    assert len(viewer.data) == 3
    assert len({row["metrics"][""][""]["all_dice"]["doubleValue"] for row in viewer.data}) == 3
