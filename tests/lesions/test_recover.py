import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from lesions import metrics
from lesions.recover import slice_counts, volume_counts

count = st.integers(0, 60_000)
counts = st.lists(st.tuples(count, count, count), min_size=1, max_size=20).map(np.array)


def scores(tp, fp, fn, dtype):
    """As the original stored them: smoothed by 1, with seven or sixteen digits."""
    return [metric(tp, fp, fn, 1.0).astype(dtype).astype(float)
            for metric in (metrics.dice, metrics.precision, metrics.recall)]  # fmt: skip


@given(counts)
def test_counts_of_slices_come_back(rows):
    tp, fp, fn = rows.T
    *found, exact = slice_counts(tp + fn, *scores(tp, fp, fn, np.float32))
    assert exact.all()
    for one, other in zip(found, (tp, fp, fn), strict=True):
        assert one.tolist() == other.tolist()


@given(counts)
def test_counts_of_volumes_come_back_where_the_volumes_differ(rows):
    tp, fp, fn = rows.T
    *found, exact = volume_counts(*scores(tp, fp, fn, np.float64), np.abs(fn - fp))
    assert exact.tolist() == (fn != fp).tolist()
    for one, other in zip(found, (tp, fp, fn), strict=True):
        assert one[exact].tolist() == other[exact].tolist()


def test_scores_that_no_counts_give():
    size = np.array([10, 10, 10, 0])
    dice, precision, recall = np.array(
        [[0.5, 0.9, 0.0, 0.5], [0.5, 0.5, 0.0, 0.5], [0.511, 6 / 11, 0.0, 0.5]]
    )
    exact = slice_counts(size, dice, precision, recall)[3]
    assert exact.tolist() == [False, False, False, False]
    assert not volume_counts(dice, precision, recall, np.array([3, 3, 3, 0]))[3].any()


def test_the_published_rows_are_whole(atlas):
    """Every published score follows from whole counts, and the fused ones from the real lesion volumes."""
    for fold in range(1, 6):
        rows = pd.read_csv(atlas / f"published_axial_fold_{fold}.csv")
        given = [rows[name].to_numpy() for name in ("dice", "precision", "recall")]
        assert slice_counts(rows["lesion_voxels"].to_numpy(), *given)[3].all()
    rows = pd.read_csv(atlas / "published_fusion_subjects.csv")
    given = [rows[name].to_numpy() for name in ("dice", "precision", "recall", "volume_difference")]
    tp, _, fn, exact = volume_counts(*given)
    assert exact.all()
    volumes = pd.read_csv(atlas / "lesions_3d.csv").set_index("subject")["voxels"]
    assert (tp + fn).tolist() == volumes.loc[rows["subject"]].tolist()
