import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesions.components import components, slice_lesions
from lesions.statistics import size_category

ROWS, COLUMNS = 197, 233  # an axial slice of the ATLAS grid


def strips(sizes, rows=ROWS, columns=COLUMNS):
    """A (rows, columns) mask with one 8-connected component of each size, a blank row between them."""
    mask, at = np.zeros((rows, columns), bool), 0
    for size in sizes:
        height = -(-size // columns)
        mask[at : at + height].flat[:size] = True
        at += height + 1
    assert at <= rows + 1, "does not fit"
    return mask


def parts(count, total, largest):
    """`count` sizes that sum up to `total`, the largest of them `largest`."""
    sizes, left = [largest], total - largest
    for others in range(count - 1, 0, -1):
        size = min(largest, left - (others - 1))
        sizes.append(size)
        left -= size
    assert left == 0
    assert min(sizes) > 0
    return sizes


@settings(deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=45), st.randoms(use_true_random=False))
def test_sizes_are_ranked_and_none_is_lost(sizes, random):
    layers = np.zeros((2 * len(sizes), 20, 20), bool)
    for layer, size in enumerate(sizes):
        layers[2 * layer].flat[:size] = True
    order = list(range(len(sizes)))
    random.shuffle(order)
    mask = layers.reshape(len(sizes), 2, 20, 20)[order].reshape(layers.shape)
    found = components(mask)
    assert found.sizes.tolist() == sorted(sizes, reverse=True)
    # The labels are the ranks, at the lesions' own places.
    assert np.bincount(found.labels.ravel())[1:].tolist() == found.sizes.tolist()
    box = tuple(slice(s, s + n) for s, n in zip(found.start, found.labels.shape, strict=True))
    assert ((found.labels > 0) == mask[box]).all()
    assert mask[box].sum() == mask.sum()


def test_full_connectivity_joins_corners_and_nothing_else():
    mask = np.zeros((5, 5, 5), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True  # a corner
    mask[3, 3, 3] = mask[4, 4, 3] = True  # an edge
    assert components(mask).sizes.tolist() == [2, 2]
    assert components(np.zeros((3, 3, 3), bool)).sizes.tolist() == []


# Rows (slice, lesions, voxels, largest) of ATLAS's own kind: one small lesion, several, a large one.
TABLES = (
    [(70, 1, 13, 13)],
    [(60, 3, 40, 30), (61, 4, 52, 31), (62, 1, 12, 12), (90, 2, 2, 1)],
    [(k, 1 + k % 5, 40 * k + 300 * (k % 5), 40 * k) for k in range(40, 100)],
)


@pytest.mark.parametrize("rows", TABLES)
def test_masks_built_from_a_table_give_that_table(rows):
    check_axial(pd.DataFrame(rows, columns=["slice", "lesions", "voxels", "largest"]))


def check_axial(table):
    """Builds a mask slice by slice from a table's rows, and measures it again."""
    mask = np.zeros((ROWS, COLUMNS, 189), bool)
    for row in table.itertuples():
        mask[:, :, row.slice] = strips(parts(row.lesions, row.voxels, row.largest))
    found = slice_lesions(mask, "axial")
    pd.testing.assert_frame_equal(found, table[list(found.columns)].reset_index(drop=True), check_dtype=False)
    return found


def test_masks_built_from_the_real_tables_give_the_golden_values(atlas):
    """From the real rows of the smallest, largest, most broken up and every 60th subject.

    The values are those of docs/spec/method.md#golden-values.
    """
    axial = pd.read_csv(atlas / "lesions_axial.csv")
    whole = pd.read_csv(atlas / "lesions_3d.csv").set_index("subject")
    chosen = {
        whole["voxels"].idxmin(),
        whole["voxels"].idxmax(),
        whole["lesions"].idxmax(),
        *whole.index[::60],
    }
    rows = axial[axial["subject"].isin(chosen)]
    measured = pd.concat([check_axial(group) for _, group in rows.groupby("subject")])
    assert measured["voxels"].sum() == whole.loc[sorted(chosen), "voxels"].sum()
    category = size_category(measured["voxels"].to_numpy(), "axial", None)
    expected = pd.cut(rows["voxels"], [0, 200, 500, 1000, 2000, 3000, np.inf]).value_counts(sort=False)
    assert np.bincount(category, minlength=7)[1:].tolist() == expected.tolist()


def test_masks_with_the_real_component_counts_give_them_in_3d(atlas):
    table = pd.read_csv(atlas / "lesions_3d.csv")
    most = table.loc[table["lesions"].idxmax()]
    assert most["lesions"] == 33
    for row in (most, table.loc[table["voxels"].idxmin()], *(r for _, r in table.iloc[::80].iterrows())):
        # Every second slice holds one component: none touches another.
        sizes = parts(row["lesions"], row["voxels"], row["largest"])
        slabs = [strips([size], rows=-(-size // 4000), columns=4000) for size in sizes]
        mask = np.zeros((2 * len(sizes), max(s.shape[0] for s in slabs), 4000), bool)
        for at, slab in enumerate(slabs):
            mask[2 * at, : slab.shape[0]] = slab
        found = components(mask)
        assert len(found.sizes) == row["lesions"]
        assert (found.sizes.sum(), found.sizes[0]) == (row["voxels"], row["largest"])
