"""Every 3-D score against implementations that share no code with ours: SimpleITK, surface-distance, plain loops."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import surface_distance
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lesions.box import bounding_box
from lesions.lesionwise import count_lesions, label
from lesions.scoring import score_volume
from lesions.surface import corner_codes, surface_distances

shapes = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
pairs = shapes.flatmap(lambda s: st.tuples(hnp.arrays(bool, s), hnp.arrays(bool, s)))
spacings = st.tuples(*[st.sampled_from([0.3, 0.7, 1.0, 1.25, 3.0])] * 3)
thorough = settings(max_examples=150, deadline=None)

SHAPE = (7, 5, 6)


def _mask(*boxes):
    mask = np.zeros(SHAPE, bool)
    for box in boxes:
        mask[box] = True
    return mask


EMPTY, WHOLE = _mask(), _mask(np.s_[:])
ONE, FAR = _mask(np.s_[3, 2, 3]), _mask(np.s_[6, 4, 5])
BLOCK, BORDER = _mask(np.s_[2:5, 1:3, 2:5]), _mask(np.s_[:2, :, 4:])
TWO = _mask(np.s_[0, 0, 0], np.s_[1, 1, 1], np.s_[5:, 3:, :2])
DEGENERATE = {
    "empty": EMPTY, "whole": WHOLE, "one voxel": ONE, "corner voxel": FAR, "block": BLOCK,
    "at the border": BORDER, "joined by a corner": TWO,
}  # fmt: skip
degenerate = pytest.mark.parametrize(
    ("truth", "prediction"),
    [
        pytest.param(DEGENERATE[a], DEGENERATE[b], id=f"{a}-{b}")
        for a, b in itertools.product(DEGENERATE, repeat=2)
    ],
)


def image(mask, spacing=(1.0, 1.0, 1.0)):
    made = sitk.GetImageFromArray(mask.astype(np.uint8).transpose(2, 1, 0))
    made.SetSpacing(spacing)
    return made


def loop_counts(truth, prediction):
    tp = fp = fn = 0
    for g, p in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        tp, fp, fn = tp + (g and p), fp + (p and not g), fn + (g and not p)
    return tp, fp, fn


def loop_components(mask, connectivity):
    """Sets of voxels by flood fill."""
    most = {6: 1, 18: 2, 26: 3}[connectivity]
    steps = [d for d in itertools.product((-1, 0, 1), repeat=3) if 0 < sum(map(abs, d)) <= most]
    left, found = set(map(tuple, np.argwhere(mask).tolist())), []
    while left:
        open_, component = [left.pop()], set()
        while open_:
            voxel = open_.pop()
            component.add(voxel)
            for step in steps:
                near = tuple(a + b for a, b in zip(voxel, step, strict=True))
                if near in left:
                    left.remove(near)
                    open_.append(near)
        found.append(component)
    return found


def loop_f1(truth, prediction, connectivity):
    """The challenge's rule lesion by lesion (docs/spec/method.md#challenge-metrics)."""
    g, p = set(map(tuple, np.argwhere(truth).tolist())), set(map(tuple, np.argwhere(prediction).tolist()))
    lesions, regions = loop_components(truth, connectivity), loop_components(prediction, connectivity)
    tp = sum(1 for lesion in lesions if lesion & p)
    fn = sum(1 for lesion in lesions if not lesion & p)
    fp = sum(1 for region in regions if not region & g)
    return (1.0 if tp + fp + fn == 0 else tp / (tp + (fp + fn) / 2)), len(lesions), len(regions)


def loop_surface(mask):
    """Voxel corners that touch both lesion and background: the set of their places."""
    padded = np.pad(mask, 1)
    return [
        corner
        for corner in itertools.product(*(range(n + 1) for n in mask.shape))
        if len({bool(padded[tuple(c + d for c, d in zip(corner, offset, strict=True))])
                for offset in itertools.product((0, 1), repeat=3)}) == 2
    ]  # fmt: skip


def check_overlap(truth, prediction, spacing):
    row = score_volume(truth, prediction, spacing)
    tp, fp, fn = loop_counts(truth, prediction)
    assert (row["tp"], row["fp"], row["fn"]) == (tp, fp, fn)
    assert row["volume_difference"] == abs(int(truth.sum()) - int(prediction.sum()))
    assert row["volume_difference_ml"] == pytest.approx(row["volume_difference"] * math.prod(spacing) / 1000)
    assert row["lesion_ml"] == pytest.approx(truth.sum() * math.prod(spacing) / 1000)
    assert row["predicted_ml"] == pytest.approx(prediction.sum() * math.prod(spacing) / 1000)
    g, p = tp + fn, tp + fp
    assert row["dice_smoothed"] == pytest.approx((2 * tp + 1) / (g + p + 1))
    assert row["recall_smoothed"] == pytest.approx((tp + 1) / (g + 1))
    assert row["precision_smoothed"] == pytest.approx((tp + 1) / (p + 1))
    if not (truth.any() or prediction.any()):
        assert (row["dice"], row["recall"], row["precision"]) == (1, 1, 1)
        return
    measured = sitk.LabelOverlapMeasuresImageFilter()
    measured.Execute(image(prediction, spacing), image(truth, spacing))  # source, target
    assert row["dice"] == pytest.approx(measured.GetDiceCoefficient())
    assert row["recall"] == pytest.approx(1 - measured.GetFalseNegativeError() if g else 0)
    assert row["precision"] == pytest.approx(1 - measured.GetFalseDiscoveryRate() if p else 0)
    if g and p:
        assert row["volume_difference"] == pytest.approx(abs(measured.GetVolumeSimilarity()) * (g + p) / 2)


@degenerate
def test_overlap_of_degenerate_masks(truth, prediction):
    check_overlap(truth, prediction, (1.0, 0.5, 3.0))


@pytest.mark.heavy
@thorough
@given(pairs, spacings)
def test_overlap(masks, spacing):
    check_overlap(*masks, spacing)


def check_lesions(truth, prediction, connectivity):
    counts = count_lesions(truth, prediction, connectivity)
    f1, lesions, regions = loop_f1(truth, prediction, connectivity)
    assert (counts.f1, counts.truth, counts.predicted) == (pytest.approx(f1), lesions, regions)
    assert counts.difference == abs(lesions - regions)
    if connectivity != 18:
        component = sitk.ConnectedComponentImageFilter()
        component.SetFullyConnected(connectivity == 26)
        for mask, count in ((truth, counts.truth), (prediction, counts.predicted)):
            component.Execute(image(mask))
            assert count == component.GetObjectCount()


@degenerate
@pytest.mark.parametrize("connectivity", [6, 18, 26])
def test_lesions_of_degenerate_masks(truth, prediction, connectivity):
    check_lesions(truth, prediction, connectivity)


@pytest.mark.heavy
@thorough
@given(pairs, st.sampled_from([6, 18, 26]))
def test_lesions(masks, connectivity):
    check_lesions(*masks, connectivity)


def check_surface(truth, prediction, spacing, tolerance):
    ours = surface_distances(truth, prediction, spacing)
    if not (truth.any() and prediction.any()):
        assert math.isnan(ours.hausdorff())
        assert math.isnan(ours.average())
        assert ours.dice(tolerance) == (1 if not truth.any() and not prediction.any() else 0)
        return
    theirs = surface_distance.compute_surface_distances(truth, prediction, spacing)
    for name, distances, areas in (
        ("gt", ours.truth, ours.truth_areas), ("pred", ours.prediction, ours.prediction_areas)
    ):  # fmt: skip
        other = {"gt": "pred", "pred": "gt"}[name]
        np.testing.assert_allclose(distances, theirs[f"distances_{name}_to_{other}"], rtol=1e-12, atol=0)
        assert areas.sum() == pytest.approx(theirs[f"surfel_areas_{name}"].sum())
    for percent in (50, 95, 100):
        # Areas are summed in another order: at an exact tie of the cumulated area the neighbor may be taken.
        expected = {surface_distance.compute_robust_hausdorff(theirs, percent + d) for d in (-1e-9, 0, 1e-9)}
        assert any(ours.hausdorff(percent) == pytest.approx(value, rel=1e-12) for value in expected)
    assert ours.dice(tolerance) == pytest.approx(
        surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance)
    )
    total = sum(
        (theirs[f"distances_{d}"] * theirs[f"surfel_areas_{a}"]).sum()
        for d, a in (("gt_to_pred", "gt"), ("pred_to_gt", "pred"))
    )
    areas = theirs["surfel_areas_gt"].sum() + theirs["surfel_areas_pred"].sum()
    assert ours.average() == pytest.approx(total / areas, abs=1e-12)


@degenerate
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 3.0, 1.25)], ids=["1 mm", "anisotropic"])
def test_surfaces_of_degenerate_masks(truth, prediction, spacing):
    check_surface(truth, prediction, spacing, 1.0)


@pytest.mark.heavy
@thorough
@given(pairs, spacings, st.sampled_from([0.0, 0.3, 1.0, 2.5]))
def test_surfaces(masks, spacing, tolerance):
    check_surface(*masks, spacing, tolerance)


@pytest.mark.heavy
@thorough
@given(pairs.filter(lambda pair: pair[0].any() and pair[1].any()), spacings)
def test_the_greatest_distance_is_that_of_itk_between_the_surfaces_corners(masks, spacing):
    corners = []
    for mask in masks:
        points = np.zeros([n + 1 for n in mask.shape], bool)
        points[tuple(np.transpose(loop_surface(mask)))] = True
        corners.append(image(points, spacing))
    measured = sitk.HausdorffDistanceImageFilter()
    measured.Execute(*corners)
    expected = measured.GetHausdorffDistance()
    assert surface_distances(*masks, spacing).hausdorff(100) == pytest.approx(expected, abs=1e-4)


def test_lesions_are_counted_as_the_challenge_does_unless_told():
    assert score_volume(TWO, EMPTY, (1, 1, 1))["lesions"] == 3
    assert score_volume(TWO, EMPTY, (1, 1, 1), connectivity=26)["lesions"] == 2


def test_the_tolerance_is_one_millimeter_unless_told():
    moved = _mask(np.s_[2:5, 2:4, 2:5])
    assert score_volume(BLOCK, moved, (1, 1, 1))["surface_dice"] == 1
    assert score_volume(BLOCK, moved, (1, 1.1, 1))["surface_dice"] < 1
    assert score_volume(BLOCK, moved, (1, 1.1, 1), tolerance=1.1)["surface_dice"] == 1


@pytest.mark.parametrize("name", ["hd95", "assd"])
def test_distances_have_no_value_where_a_mask_is_empty(name):
    for truth, prediction in ((EMPTY, BLOCK), (BLOCK, EMPTY), (EMPTY, EMPTY)):
        assert math.isnan(score_volume(truth, prediction, (1, 1, 1))[name])


def test_worked_example():
    """A 2 x 2 x 2 block moved by one voxel of 3 mm along the first axis, and one false voxel far away."""
    truth, prediction = np.zeros((12, 6, 6), bool), np.zeros((12, 6, 6), bool)
    truth[2:4, 2:4, 2:4] = prediction[3:5, 2:4, 2:4] = True
    row = score_volume(truth, prediction, (3.0, 1.0, 1.0))
    assert (row["tp"], row["fp"], row["fn"]) == (4, 4, 4)
    assert (row["dice"], row["volume_difference"], row["lesion_f1"]) == (0.5, 0, 1)
    assert surface_distances(truth, prediction, (3.0, 1.0, 1.0)).hausdorff(100) == 3
    prediction[11, 0, 0] = True
    row = score_volume(truth, prediction, (3.0, 1.0, 1.0))
    assert (row["lesions"], row["predicted_lesions"], row["false_lesions"]) == (1, 2, 1)
    assert row["lesion_f1"] == pytest.approx(2 / 3)
    assert row["lesion_count_difference"] == 1


def test_tables_use_the_masks_as_they_come():
    """uint8 and float masks, Fortran order, a corner far from the origin: the same scores."""
    rng = np.random.default_rng(0)
    truth, prediction = rng.random((2, 9, 8, 7)) > 0.7
    expected = score_volume(truth, prediction, (1.0, 2.0, 0.5))
    assert score_volume(truth.astype(np.uint8), prediction.astype(np.float32), (1.0, 2.0, 0.5)) == expected
    assert score_volume(np.asfortranarray(truth), prediction, (1.0, 2.0, 0.5)) == expected
    wider = [np.pad(mask, ((4, 1), (0, 5), (3, 3))) for mask in (truth, prediction)]
    assert score_volume(*wider, (1.0, 2.0, 0.5)) == expected


@pytest.mark.heavy
@thorough
@given(pairs, spacings)
def test_scores_are_the_same_with_axes_exchanged(masks, spacing):
    row = score_volume(*masks, spacing)
    turned = score_volume(*(mask.transpose(2, 0, 1) for mask in masks), (spacing[2], spacing[0], spacing[1]))
    exact = {"assd", "hd95", "surface_dice"}
    assert {k: v for k, v in row.items() if k not in exact} == pytest.approx(
        {k: v for k, v in turned.items() if k not in exact}
    )
    assert turned["assd"] == pytest.approx(row["assd"], nan_ok=True)


@pytest.mark.parametrize(
    ("truth", "prediction", "spacing", "message"),
    [
        (np.zeros((2, 2)), np.zeros((2, 2)), (1, 1, 1), "truth must have three axes"),
        (np.zeros((2, 2, 2)), np.zeros((2, 2, 3)), (1, 1, 1), "one shape, found"),
        (np.zeros((2, 2, 2)), np.full((2, 2, 2), np.nan), (1, 1, 1), "prediction must not hold NaN, found 8"),
        (EMPTY, EMPTY, (1, 1), "three positive numbers"),
        (EMPTY, EMPTY, (1, 0, 1), "three positive numbers"),
        (EMPTY, EMPTY, (1, math.nan, 1), "three positive numbers"),
    ],
)
def test_bad_input_is_named(truth, prediction, spacing, message):
    with pytest.raises(ValueError, match=message):
        score_volume(truth, prediction, spacing)


def test_connectivity_must_be_known():
    with pytest.raises(ValueError, match="6, 18 or 26, found 8"):
        label(EMPTY, 8)


@given(hnp.arrays(bool, shapes), st.booleans())
def test_the_box_is_the_least_that_holds_the_mask(mask, fortran):
    box = bounding_box(np.asfortranarray(mask) if fortran else mask)
    inside = mask[box]
    assert inside.sum() == mask.sum()
    for axis, n in enumerate(inside.shape):
        if n:
            assert inside.take(0, axis).any()
            assert inside.take(n - 1, axis).any()
    assert mask.any() or inside.size == 0


def test_corner_codes_name_the_neighbors():
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 1] = True
    codes = corner_codes(mask)
    assert codes.shape == (3, 3, 3)
    assert codes[1, 1, 1] == 64
    assert codes[0, 0, 1] == 1
    assert corner_codes(np.ones((2, 2, 2), bool))[1, 1, 1] == 255


def test_the_formula_page_has_every_score():
    page = (Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text()
    missing = [name for name in score_volume(BLOCK, ONE, (1, 1, 1)) if f"`{name}`" not in page]
    assert missing == []
