"""Every hold-out subject is segmented once, written as `raxnet segment` would, and scored before and after fusion."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from components.fusion_evaluator import DERIVATIVE, FusionEvaluator
from components.holdout import score_holdout
from lesions import calibration, nifti
from lesions.dataset import Scan
from lesions.grid import Volume
from lesions.manifest import Manifest
from lesions.scoring import score_volume
from lesions.slices import AXIS, PLANES
from serving import bids_app
from serving.bids import find_scans
from serving.predictor import SavedModelPredictor
from serving.segmenter import segment
from tests.serving.conftest import ASYMMETRIC, Spy, save_model

SUBJECTS = ("sub-a", "sub-b", "sub-c", "sub-d")
HELD_OUT = ("sub-b", "sub-d")
COUNTS = ("tp", "fp", "fn")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four scans with masks where they are bright, stored from right to left; background around them."""
    root = tmp_path_factory.mktemp("data")
    scans = []
    for seed, subject in enumerate(SUBJECTS):
        rng = np.random.default_rng(seed)
        image = rng.uniform(1, 600, ASYMMETRIC.shape).astype(np.float32)
        image[3:7, 4:9, 2:6] += 350
        image[:2] = image[:, 12:] = image[:, :, 9:] = 0
        truth = (image > 480).astype(np.uint8)
        if subject == "sub-d":
            truth[:] = 0
            truth[8, 5, 3] = truth[8, 5, 5] = 1
        paths = [root / f"{subject}/anat/{subject}_{name}.nii.gz" for name in ("T1w", "label-L_mask")]
        for path, array in zip(paths, (image, truth), strict=True):
            nifti.write(path, nifti.oriented_like(Volume(array, ASYMMETRIC), np.diag([-1, 1, 1, 1])))
        scans.append(Scan(subject, "", *paths))
    return root, scans


def score(data, tmp_path, predictor=None, **options):
    root, scans = data
    chosen = [scan for scan in scans if scan.subject in HELD_OUT]
    options = {"rule": "mean", "threshold": 0.5, "flip": False} | options
    return list(
        score_holdout(chosen, root, ASYMMETRIC, predictor or Spy(), tmp_path, lambda *_: None, **options)
    )


def truth_of(data, subject):
    return nifti.canonical(nifti.read(data[0] / f"{subject}/anat/{subject}_label-L_mask.nii.gz")).data > 0


def segmented(data, subject, **options):
    scan = nifti.canonical(nifti.read(data[0] / f"{subject}/anat/{subject}_T1w.nii.gz"))
    return segment(scan, Spy(), **options)


def test_each_plane_and_the_fused_mask_are_scored_in_3d(data, tmp_path):
    for one, subject in zip(score(data, tmp_path), HELD_OUT, strict=True):
        done, truth = segmented(data, subject), truth_of(data, subject)
        masks = {p: v > 0.5 for p, v in done.plane_probabilities.items()} | {"fused": done.fused_mask > 0}
        assert [row["prediction"] for row in one.volumes] == [*PLANES, "fused"]
        for row in one.volumes:
            expected = score_volume(truth, masks[row["prediction"]], ASYMMETRIC.spacing)
            assert {k: v for k, v in row.items() if k in expected} == pytest.approx(expected, nan_ok=True)
            assert row["subject"] == subject


@pytest.mark.parametrize("rule", ["mean", "majority"])
def test_slice_counts_add_up_to_those_of_the_volume(data, tmp_path, rule):
    """Before: the plane's own mask; after: the fused one; no slice with lesion or prediction is missing."""
    for one in score(data, tmp_path, rule=rule):
        volumes = {row["prediction"]: row for row in one.volumes}
        for plane, rows in one.slices.groupby("plane"):
            for stage, name in (("before", plane), ("after", "fused")):
                for count in COUNTS:
                    assert rows[f"{count}_{stage}"].sum() == volumes[name][count]
            assert rows["slice"].is_unique
            assert rows["lesion_voxels"].sum() == volumes[plane]["lesion_voxels"]
    after = one.slices[[f"{count}_after" for count in COUNTS]].to_numpy()
    assert (after != one.slices[[f"{count}_before" for count in COUNTS]].to_numpy()).any()


def test_background_slices_are_no_rows_unless_something_is_said_of_them(data, tmp_path):
    def rows_of(folder, **options):
        table = score(data, tmp_path / folder, Spy(**options))[0].slices
        return {plane: set(rows["slice"]) for plane, rows in table.groupby("plane")}

    image = nifti.canonical(nifti.read(data[0] / "sub-b/anat/sub-b_T1w.nii.gz")).data
    filled = {p: set(np.flatnonzero(np.moveaxis(image, AXIS[p], 0).max(axis=(1, 2)))) for p in PLANES}
    assert all(len(filled[p]) < image.shape[AXIS[p]] for p in PLANES)
    assert rows_of("usual") == filled
    # Where two planes see lesion everywhere, they outvote the third in the slices that it was not asked about.
    everything = rows_of("all", answer=lambda plane, s: np.full_like(s, plane != "axial"))
    assert everything["axial"] == set(range(image.shape[2]))


def test_uncertainty_is_summarized_where_it_matters(data, tmp_path):
    for one, subject in zip(score(data, tmp_path), HELD_OUT, strict=True):
        done, truth = segmented(data, subject), truth_of(data, subject)
        apart = np.ptp(list(done.plane_probabilities.values()), axis=0)
        fused = done.fused_mask > 0
        row = one.uncertainty
        assert row["plane_disagreement"] == done.disagreement
        parts = (("mask", fused), ("false_positive", fused & ~truth), ("false_negative", ~fused & truth))
        for name, part in parts:
            assert row[f"voxels_{name}"] == part.sum()
            expected = pytest.approx(apart[part].mean(), rel=1e-5) if part.any() else None
            assert row[f"uncertainty_{name}"] == expected
    assert fused.any()
    assert (truth & ~fused).any()
    assert len({r.uncertainty["uncertainty_mask"] for r in score(data, tmp_path)}) == 2


def test_one_plane_has_no_uncertainty_and_an_empty_mask_no_mean(data, tmp_path):
    alone = score(data, tmp_path / "one", Spy(planes=("axial",)))[0].uncertainty
    assert alone["plane_disagreement"] is None
    assert alone["uncertainty_mask"] is None
    assert alone["voxels_mask"] > 0
    nothing = score(data, tmp_path / "none", Spy(answer=lambda plane, s: np.zeros_like(s)))[0].uncertainty
    assert (nothing["voxels_mask"], nothing["uncertainty_mask"]) == (0, None)
    assert nothing["uncertainty_false_negative"] == 0


def test_flip_is_passed_on(data, tmp_path):
    flipped = score(data, tmp_path, flip=True)[0]
    expected = segmented(data, "sub-b", flip=True)
    plain = segmented(data, "sub-b")
    counts = {row["prediction"]: row["predicted_voxels"] for row in flipped.volumes}
    assert counts["fused"] == expected.fused_mask.sum()
    assert not np.array_equal(expected.fused_mask, plain.fused_mask)


@pytest.fixture(scope="module")
def evaluated(data, tmp_path_factory):
    """The component's artifact, made with exported models; and those models."""
    from tests.components.conftest import Artifact

    root, scans = data
    folder = tmp_path_factory.mktemp("evaluated")
    models = {p: save_model(folder / p / "Format-Serving", p) for p in PLANES}
    Manifest("made up", True, "bids", "d", ASYMMETRIC, tuple(scans), (), ()).write(folder / "manifest")
    (folder / "folds").mkdir()
    rows = [(s, 0 if s in HELD_OUT else 1) for s in SUBJECTS]
    pd.DataFrame(rows, columns=["subject", "fold"]).to_csv(folder / "folds/folds.csv", index=False)
    FusionEvaluator.EXECUTOR_SPEC.executor_class._FUNCTION(
        manifest=Artifact(folder / "manifest"),
        fold_map=Artifact(folder / "folds"),
        evaluation=Artifact(folder / "out"),
        data=str(root),
        rule="mean",
        threshold=0.5,
        flip=0,
        seed=0,
        code="c",
        **{f"model_{p}": Artifact(models[p].parent) for p in PLANES},
    )
    return folder / "out", models


def test_tables_hold_every_subject_and_follow_from_the_counts(evaluated):
    out, _ = evaluated
    rows = pd.read_csv(out / "holdout.csv")
    pd.testing.assert_frame_equal(rows, pd.read_parquet(out / "holdout.parquet"))
    assert sorted(set(rows["subject"])) == list(HELD_OUT)
    assert rows.groupby("prediction")["subject"].nunique().to_dict() == dict.fromkeys([*PLANES, "fused"], 2)
    fused = rows[rows["prediction"] == "fused"]
    summary = pd.read_csv(out / "summary.csv").set_index("prediction").loc["fused"]
    assert (summary["n"], summary["dice"]) == (2, pytest.approx(fused["dice"].mean()))
    scores = pd.read_csv(out / "scores.csv").set_index(["prediction", "score"])
    for name in (
        "dice",
        "dice_smoothed",
        "lesion_f1",
        "hd95",
        "assd",
        "surface_dice",
        "volume_difference_ml",
    ):
        row = scores.loc[("fused", name)]
        assert row["n"] + row["left_out"] == 2
        assert row["mean"] == pytest.approx(fused[name].mean(), nan_ok=True)
    by = pd.read_csv(out / "by_category.csv")
    whole = by[by["score"] == "dice"].groupby("prediction")
    assert ((whole["n"].sum() + whole["left_out"].sum()) == 2).all()
    assert set(fused["size_category"]) == set(by["size_category"])
    compared = pd.read_csv(out / "comparison.csv")
    assert compared["n"].tolist() == [2, 2, 2]


def test_slices_before_and_after_fusion_are_paired(evaluated):
    out, _ = evaluated
    rows, found = pd.read_csv(out / "holdout_slices.csv"), pd.read_csv(out / "slice_summary.csv")
    assert len(found) == 3 * 2 * 3
    for row in found[found["metric"] == "dice"].itertuples():
        part = rows[(rows["plane"] == row.plane) & ((row.slices == "all") | (rows["lesion_voxels"] > 0))]
        means = {}
        for stage in ("before", "after"):
            tp, fp, fn = (part[f"{count}_{stage}"].to_numpy(float) for count in COUNTS)
            smoothing = 1.0 if row.slices == "all" else 0.0
            means[stage] = ((2 * tp + smoothing) / (2 * tp + fp + fn + smoothing)).mean()
        assert row.n == len(part)
        assert row.before_mean == pytest.approx(means["before"])
        assert row.after_mean == pytest.approx(means["after"])
        assert row.gain_mean == pytest.approx(means["after"] - means["before"])


def test_calibration_counts_every_voxel_and_agrees_with_the_masks(evaluated):
    out, _ = evaluated
    rows, histograms = pd.read_csv(out / "holdout.csv"), pd.read_csv(out / "calibration.csv")
    assert set(histograms["prediction"]) == {*PLANES, "fused"}
    for name, histogram in histograms.groupby("prediction"):
        assert histogram["voxels"].sum() == 2 * np.prod(ASYMMETRIC.shape)
        scored = rows[rows["prediction"] == name]
        assert histogram["lesion"].sum() == scored["lesion_voxels"].sum()
    # The fused mask is probability >= 0.5: the histogram gives its counts again.
    fused = histograms[histograms["prediction"] == "fused"].drop(columns="prediction")
    counts = rows.loc[rows["prediction"] == "fused", list(COUNTS)].sum().to_dict()
    assert calibration.counts_at(fused, 0.5) == counts


def test_the_derivative_is_what_raxnet_segment_writes(evaluated, data, tmp_path):
    out, models = evaluated
    predictor = SavedModelPredictor(models, "unreleased")
    own = list(bids_app.participant(find_scans([data[0]], HELD_OUT), tmp_path / "own", predictor))
    assert not any(o.error for o in own)
    bids_app.group(tmp_path / "own")
    theirs = out / DERIVATIVE
    names = sorted(path.relative_to(tmp_path / "own") for path in (tmp_path / "own").rglob("*.*"))
    pages = [name for name in names if name.suffix == ".html"]  # pictures of the hold-out are the report's
    assert [p.stem for p in pages] == list(HELD_OUT)
    names = [name for name in names if name not in pages]
    assert names == sorted(path.relative_to(theirs) for path in theirs.rglob("*.*"))
    for name in names:
        if name.suffix == ".gz":
            a, b = (nib.load(folder / name) for folder in (theirs, tmp_path / "own"))
            np.testing.assert_array_equal(a.dataobj, b.dataobj)
            np.testing.assert_array_equal(a.affine, b.affine)
        elif name.name.endswith(("mask.json", "probseg.json")):
            a, b = (json.loads((folder / name).read_text()) for folder in (theirs, tmp_path / "own"))
            assert a == b
    files = pd.read_csv(out / "files.csv")
    assert files["subject"].tolist() == list(HELD_OUT)
    assert all(
        (theirs / path).is_file() for name in ("mask", "probability", "uncertainty") for path in files[name]
    )
    assert all(path.is_file() for name in ("image", "truth") for path in map(type(out), files[name]))
