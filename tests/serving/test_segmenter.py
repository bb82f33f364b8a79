"""Volume in, mask out: every voxel comes back to its place, in any orientation, on any grid."""

from importlib.resources import files
from itertools import permutations, product

import numpy as np
import pytest

from lesions import nifti
from lesions.errors import InputError
from lesions.grid import Grid, Volume, resample, template_grid
from lesions.mni import TEMPLATE
from lesions.slices import PLANES
from serving.segmenter import FIRST, disagreement, segment

SHAPES = {"axial": (10, 12, 14), "sagittal": (12, 14, 10), "coronal": (14, 12, 10)}


def reference(data, formula):
    """Probabilities of each plane by plain loops over slices."""
    found = {}
    for plane in PLANES:
        found[plane] = np.zeros(data.shape, np.float32)
        for index in range(SHAPES[plane][0]):
            where = {"axial": np.s_[:, :, index], "sagittal": np.s_[index], "coronal": np.s_[:, index, :]}[
                plane
            ]
            if data[where].any():
                found[plane][where] = formula(plane, data[where][None])[0]
    return found


def turned(volume, order, flips):
    """The same voxels in the same places, stored in another order of axes."""
    matrix = np.zeros((4, 4))
    for column, (axis, flip) in enumerate(zip(order, flips, strict=True)):
        matrix[axis, column] = flip
    matrix[3, 3] = 1
    return nifti.oriented_like(volume, matrix)


def test_every_voxel_comes_back_to_its_place(spy, grid, scan_data, expected):
    data, predictor = scan_data(), spy()
    done = segment(Volume(data, grid), predictor)
    planes = reference(data, expected)
    for plane in PLANES:
        np.testing.assert_array_equal(done.plane_probabilities[plane], planes[plane])
        assert [part.shape[1:] for part in predictor.asked[plane]] == [SHAPES[plane][1:]]
    mean = np.mean(list(planes.values()), axis=0)
    np.testing.assert_allclose(done.fused_probability, mean, atol=1e-6)
    np.testing.assert_array_equal(done.probability.data, done.fused_probability)
    np.testing.assert_array_equal(done.mask.data, done.fused_probability >= 0.5)
    assert 0.1 < done.mask.data.mean() < 0.9
    assert done.mask.data.dtype == np.uint8
    assert done.probability.data.dtype == np.float32
    assert done.mask.grid == grid
    assert done.planes == PLANES


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_all_48_orientations_give_the_same_mask_in_space(spy, grid, scan_data, order):
    volume = Volume(scan_data(), grid)
    upright = segment(volume, spy())
    for flips in product((1, -1), repeat=3):
        scan = turned(volume, order, flips)
        done = segment(scan, spy())
        assert done.mask.grid == scan.grid
        for name in ("mask", "probability"):
            back = nifti.oriented_like(getattr(done, name), grid.matrix)
            np.testing.assert_array_equal(back.data, getattr(upright, name).data)
            assert back.grid.same_as(grid)


def test_rounding_in_the_header_does_not_blur(spy, grid, scan_data):
    """Quaternions and text affines are a few micrometers off; reslicing for that would lose the border."""
    turned_scan = turned(Volume(scan_data(), grid), (1, 2, 0), (-1, 1, -1))
    matrix = turned_scan.grid.matrix
    matrix[:3, 3] += 2e-4
    rounded = Volume(turned_scan.data, Grid.of(turned_scan.grid.shape, matrix))
    exact, done = segment(turned_scan, spy()), segment(rounded, spy())
    np.testing.assert_array_equal(done.probability.data, exact.probability.data)
    np.testing.assert_array_equal(done.mask.data, exact.mask.data)
    assert done.mask.grid == rounded.grid


def test_votes_stay_votes_on_another_grid(spy, scan_data):
    own = Grid.of((36, 42, 30), np.array([[1.0, 0, 0, -18], [0, 1, 0, -20], [0, 0, 1, -12], [0, 0, 0, 1]]))
    sure = {"axial": 1.0, "sagittal": 0.45, "coronal": 0.45}  # the mean would say lesion

    def answer(plane, slices):
        return np.full(slices.shape, sure[plane], np.float32)

    volume = Volume(scan_data(own.shape), own)
    assert segment(volume, spy(answer=answer), "mean").mask.data.any()
    assert not segment(volume, spy(answer=answer), "majority").mask.data.any()


@pytest.mark.parametrize(
    ("shape", "spacing"), [((36, 42, 30), (1, 1, 1)), ((18, 30, 9), (2, 1.4, 3.3)), ((12, 14, 7), (3, 3, 5))]
)
@pytest.mark.parametrize("rule", ["mean", "majority"])
def test_other_spacings_keep_the_scan_s_grid(spy, grid, shape, spacing, rule):
    """A bright box, in millimeters, is found where it is."""
    matrix = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
    matrix[:3, 3] = [15, -20, -12]
    own = Grid.of(shape, matrix)
    places = np.moveaxis(np.indices(shape), 0, -1) @ matrix[:3, :3].T + matrix[:3, 3]
    inside = (np.abs(places - [-2, 0, 0]) <= [7, 8, 7]).all(axis=-1)
    well_out = (np.abs(places - [-2, 0, 0]) > [11, 12, 12]).any(axis=-1)
    well_in = (np.abs(places - [-2, 0, 0]) <= [3, 4, 2]).all(axis=-1)

    def bright(plane, slices):
        return np.clip(slices / 1000, 0, 1).astype(np.float32)

    scan = Volume(np.where(inside, 1000, 10).astype(np.float32), own)
    done = segment(scan, spy(answer=bright), rule)
    assert done.mask.grid == own == done.probability.grid
    assert done.mask.data.shape == shape == done.probability.data.shape
    assert set(np.unique(done.mask.data)) == {0, 1}
    assert done.mask.data[well_in].all()
    assert not done.mask.data[well_out].any()
    assert well_in.any()
    assert well_out.any()
    volume = done.mask.data.sum() * own.voxel_volume
    assert volume == pytest.approx(inside.sum() * own.voxel_volume, rel=0.35)
    assert done.fused_mask.shape == grid.shape
    assert done.probability.data.min() >= 0
    assert done.probability.data.max() <= 1


def test_threshold_decides_on_the_scan_s_own_grid(spy, scan_data):
    own = Grid.of((36, 42, 30), np.array([[1.0, 0, 0, -18], [0, 1, 0, -20], [0, 0, 1, -12], [0, 0, 0, 1]]))
    done = segment(Volume(scan_data(own.shape), own), spy(), threshold=0.37)
    np.testing.assert_array_equal(done.mask.data, done.probability.data >= np.float32(0.37))
    assert 0 < done.mask.data.mean() < 1


def test_majority_is_a_vote(spy, grid, scan_data):
    sure = {"axial": 1.0, "sagittal": 0.0, "coronal": 0.4}

    def answer(plane, slices):
        return np.full(slices.shape, sure[plane], np.float32)

    volume = Volume(scan_data(), grid)
    assert not segment(volume, spy(answer=answer), "majority").mask.data.any()
    sure["coronal"] = 0.5
    assert segment(volume, spy(answer=answer), "majority").mask.data.all()


def test_empty_slices_are_never_sent(spy, grid, scan_data, expected):
    data = scan_data()
    data[:3] = data[:, 5] = data[:, :, 8:] = 0
    predictor = spy()
    done = segment(Volume(data, grid), predictor)
    for plane, empty in (("sagittal", 3), ("coronal", 1), ("axial", 2)):
        sent = np.concatenate(predictor.asked[plane])
        assert len(sent) == SHAPES[plane][0] - empty
        assert sent.any(axis=(1, 2)).all()
        assert sent.dtype == np.float32
        np.testing.assert_array_equal(done.plane_probabilities[plane], reference(data, expected)[plane])
    assert not done.plane_probabilities["axial"][:, :, 8:].any()


def test_smear_of_reslicing_is_not_sent(spy):
    """A 1 mm scan that fills a part of the models' box: 3 mm slices beyond it hold a millionth of light."""
    data = np.zeros((36, 42, 30), np.float32)
    data[12:24, 14:28, 10:20] = 500
    own = Grid.of(data.shape, np.array([[1.0, 0, 0, -18], [0, 1, 0, -20], [0, 0, 1, -12], [0, 0, 0, 1]]))
    predictor = spy()
    segment(Volume(data, own), predictor)
    for plane in PLANES:
        assert 3 <= sum(len(part) for part in predictor.asked[plane]) <= 9
        assert all(part.max(axis=(1, 2)).min() > 0.4 for part in predictor.asked[plane])


def test_sixteen_slices_a_call_and_progress(spy, scan_data):
    large = template_grid(5.0)
    predictor, told = spy(large), []
    segment(Volume(scan_data(large.shape), large), predictor, progress=lambda *now: told.append(now))
    total = sum(large.shape)
    assert [len(part) for part in predictor.asked["axial"]] == [16, 16, 6]
    assert all(len(part) <= 16 for parts in predictor.asked.values() for part in parts)
    assert len(told) == predictor.calls
    assert told[-1] == (total, total)
    assert told == sorted(told)


def test_only_the_planes_that_there_are(spy, grid, scan_data, expected):
    data = scan_data()
    done = segment(Volume(data, grid), spy(planes=("coronal",)))
    np.testing.assert_array_equal(done.fused_probability, reference(data, expected)["coronal"])
    assert done.planes == ("coronal",)
    assert done.disagreement is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scan_that_is_not_finite(spy, grid, scan_data, value):
    data = scan_data()
    data[3, 4, 5] = value
    with pytest.raises(InputError, match="1 of 1680 voxels"):
        segment(Volume(data, grid), spy())


@pytest.mark.parametrize("value", [0, 7])
def test_constant_scan(spy, grid, value):
    predictor = spy()
    with pytest.raises(InputError, match=f"every voxel is {value}"):
        segment(Volume(np.full(grid.shape, value, np.float32), grid), predictor)
    assert predictor.calls == 0


@pytest.mark.parametrize(
    ("rule", "threshold"), [("median", 0.5), ("mean", 0.0), ("mean", 1.0), ("mean", np.nan)]
)
def test_options_out_of_range(spy, grid, scan_data, rule, threshold):
    with pytest.raises(InputError, match="expected"):
        segment(Volume(scan_data(), grid), spy(), rule, threshold)


def test_scan_outside_the_models_box(spy, scan_data):
    far = Grid.of((12, 14, 10), np.diag([3.0, 3, 3, 1]) + np.array([[0, 0, 0, 500.0]] + [[0] * 4] * 3))
    predictor = spy()
    done = segment(Volume(scan_data(), far), predictor)
    assert predictor.calls == 0
    assert not done.mask.data.any()
    assert any("no part of the scan" in line for line in done.messages)
    assert done.mni.flagged


def test_head_in_place_gives_no_message(spy):
    template = nifti.read(files("nilearn.datasets.data") / TEMPLATE)
    small = resample(template, template_grid(6.0))
    done = segment(small, spy(small.grid))
    assert not done.mni.flagged
    assert done.messages == ()
    matrix = small.grid.matrix
    matrix[0, 3] += 25
    moved = Volume(small.data, Grid.of(small.grid.shape, matrix))
    told = segment(moved, spy(small.grid))
    assert told.mni.flagged
    assert told.messages == (told.mni.said(FIRST),)
    assert "the mask may be wrong" in told.mni.message


def test_negative_intensities_are_told(spy, grid, scan_data):
    done = segment(Volume(scan_data() - 500, grid), spy())
    assert any("background of 0" in line for line in done.messages)


def test_integer_scans_give_the_same(spy, grid, scan_data):
    whole = scan_data().round()
    a, b = (
        segment(Volume(whole.astype(kind), grid), spy()).probability.data for kind in (np.int16, np.float32)
    )
    np.testing.assert_array_equal(a, b)


def test_disagreement():
    a = np.array([1, 1, 0, 0], bool)
    assert disagreement([a, a, a]) == 0
    assert disagreement([a, ~a]) == 1
    assert disagreement([a, np.array([1, 0, 0, 0], bool)]) == pytest.approx(1 / 3)
    assert disagreement([a & False, a & False]) == 0
    assert disagreement([a]) is None


def test_uncertainty_is_the_range_of_the_planes(spy, grid, scan_data):
    done = segment(Volume(scan_data(), grid), spy())
    planes = list(done.plane_probabilities.values())
    np.testing.assert_allclose(done.uncertainty.data, np.ptp(planes, axis=0), atol=1e-7)
    assert done.uncertainty.grid == grid
    assert done.uncertainty.data.max() > 0.3
    assert segment(Volume(scan_data(), grid), spy(planes=("axial",))).uncertainty is None


def test_uncertainty_lies_on_the_scan_s_own_grid(spy, scan_data):
    own = Grid.of((36, 42, 30), np.array([[-1.0, 0, 0, 17], [0, 1, 0, -20], [0, 0, 1, -12], [0, 0, 0, 1]]))
    done = segment(Volume(scan_data(own.shape), own), spy())
    assert done.uncertainty.grid == own
    assert done.uncertainty.data.shape == own.shape
    assert 0 <= done.uncertainty.data.min() < done.uncertainty.data.max() <= 1


ODD = Grid.of((11, 13, 9), [[3, 0, 0, -15], [0, 3, 0, -20], [0, 0, 3, -12], [0, 0, 0, 1]])


@pytest.mark.parametrize("shape", [(11, 13, 9), (12, 14, 10)])
def test_flip_averages_with_the_mirrored_scan_put_back(spy, scan_data, shape):
    """Each plane's answer is that of the scan and that of its mirror image, mirrored back, voxel by voxel."""
    own, data = Grid.of(shape, ODD.matrix), scan_data(shape)
    there = segment(Volume(data, own), spy(own))
    mirror = segment(Volume(np.ascontiguousarray(data[::-1]), own), spy(own))
    done = segment(Volume(data, own), spy(own), flip=True)
    for plane in PLANES:
        expected = (there.plane_probabilities[plane] + mirror.plane_probabilities[plane][::-1]) / 2
        np.testing.assert_array_equal(done.plane_probabilities[plane], expected)
        # The formula favors the last row, which is the right side in axial and coronal slices.
        same = np.array_equal(expected, there.plane_probabilities[plane])
        assert same == (plane == "sagittal")


def test_flip_reverses_sagittal_slices_and_the_rows_of_the_others(spy, scan_data):
    data, predictor = scan_data(ODD.shape), spy(ODD)
    segment(Volume(data, ODD), predictor, flip=True)
    asked = {plane: np.concatenate(predictor.asked[plane]) for plane in PLANES}
    cut = {"axial": np.moveaxis(data, 2, 0), "sagittal": data, "coronal": np.moveaxis(data, 1, 0)}
    for plane, stack in cut.items():
        first, second = np.split(asked[plane], 2)
        np.testing.assert_array_equal(first, stack)
        np.testing.assert_array_equal(second, stack[::-1] if plane == "sagittal" else stack[:, ::-1])


@pytest.mark.parametrize("shape", [(11, 13, 9), (12, 14, 10)])
def test_a_model_that_knows_no_side_gives_the_same_with_flip(spy, scan_data, shape):
    def symmetric(plane, slices):
        return np.clip(slices / 1000, 0, 1).astype(np.float32)

    own, data = Grid.of(shape, ODD.matrix), scan_data(shape)
    data[2] = data[:, 4] = data[:, :, 1] = 0  # empty slices lie elsewhere in the mirrored scan
    plain, flipped = (segment(Volume(data, own), spy(own, answer=symmetric), flip=f) for f in (False, True))
    for plane in PLANES:
        np.testing.assert_array_equal(plain.plane_probabilities[plane], flipped.plane_probabilities[plane])
    np.testing.assert_array_equal(plain.mask.data, flipped.mask.data)


def test_flip_mirrors_the_head_not_the_file(spy, grid, scan_data):
    """A scan stored from right to left, or with other axes, is mirrored at the same plane of the head."""
    volume = Volume(scan_data(), grid)
    upright = segment(volume, spy(), flip=True)
    for order, flips in (((0, 1, 2), (-1, 1, 1)), ((2, 0, 1), (1, -1, -1))):
        done = segment(turned(volume, order, flips), spy(), flip=True)
        back = nifti.oriented_like(done.probability, grid.matrix)
        np.testing.assert_array_equal(back.data, upright.probability.data)


def test_flip_is_counted_in_the_progress(spy, grid, scan_data):
    told = []
    segment(Volume(scan_data(), grid), spy(), progress=lambda *now: told.append(now), flip=True)
    assert told[-1] == (72, 72)
    assert told == sorted(told)
