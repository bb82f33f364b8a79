import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesions import batches
from lesions.errors import InputError
from lesions.statistics import read_tables, size_category

counts_of = st.lists(st.integers(0, 60), min_size=1, max_size=6).filter(lambda counts: sum(counts) > 0)


def categories_of(counts, normals, seed=0):
    rows = np.repeat(np.arange(len(counts) + 1), [normals, *counts])
    return np.random.default_rng(seed).permutation(rows)


def lesions_of(categories, plan):
    return [batch[categories[batch] > 0] for batch in plan]


def assert_exact(categories, plan, half):
    """The rules of controlled rounding (docs/spec/method.md#distribution-batches)."""
    lesions = lesions_of(categories, plan)
    assert sorted(np.concatenate(lesions)) == np.flatnonzero(categories).tolist()
    sizes = [len(batch) for batch in lesions]
    assert sizes[:-1] == [half] * (len(sizes) - 1)
    assert 1 <= sizes[-1] <= half
    total = np.bincount(categories)[1:]
    for batch in lesions:
        inside = np.bincount(categories[batch], minlength=len(total) + 1)[1:]
        assert (inside >= total * len(batch) // total.sum()).all()
        assert (inside <= -(-total * len(batch) // total.sum())).all()


@pytest.mark.heavy
@given(counts_of, st.integers(1, 24), st.integers(0, 400), st.integers(0, 2**31), st.integers(0, 50))
@settings(max_examples=300, deadline=None)
def test_shares_are_exact(counts, half, normals, seed, epoch):
    categories = categories_of(counts, normals)
    plan = batches.plan(categories, 2 * half, seed, epoch)
    assert_exact(categories, plan, half)
    assert batches.quality(categories, plan)["tv"].mean() == pytest.approx(
        batches.minimum_tv(categories, 2 * half), abs=1e-12
    )


@given(counts_of, st.integers(1, 24), st.integers(1, 400), st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_normals(counts, half, normals, seed):
    categories = categories_of(counts, normals)
    for make in (batches.plan, batches.plain_plan):
        plan = make(categories, 2 * half, seed, 0)
        for batch in plan:
            middle = len(batch) // 2
            assert (categories[batch[:middle]] > 0).all()
            assert (categories[batch[middle:]] == 0).all()
        used = np.concatenate([batch[len(batch) // 2 :] for batch in plan])
        assert len(used) == sum(counts)
        times = np.bincount(used, minlength=len(categories))[categories == 0]
        assert times.max() - times.min() <= 1  # all of them before one comes again


def least_tv(counts, half):
    """Smallest mean TV over every table of floors and ceilings with these sums, by trying them all."""
    counts = np.array(counts)
    total = counts.sum()
    sizes = [half] * (total // half) + [total % half] * bool(total % half)
    tables = {tuple(np.zeros(len(counts), int)): 0.0}
    for size in sizes:
        share = counts * size / total
        rows = [
            np.array(row)
            for row in itertools.product(
                *({int(f), int(c)} for f, c in zip(share // 1, -(-share // 1), strict=True))
            )
            if sum(row) == size
        ]
        after = {}
        for used, cost in tables.items():
            for row in rows:
                key = tuple(np.array(used) + row)
                value = cost + np.abs(row - share).sum() / size / 2
                after[key] = min(value, after.get(key, np.inf))
        tables = after
    return tables[tuple(counts)] / len(sizes)


@pytest.mark.heavy
@given(st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(lambda c: sum(c) > 0), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_minimum_is_the_minimum(counts, half):
    categories = categories_of(counts, 0)
    assert batches.minimum_tv(categories, 2 * half) == pytest.approx(least_tv(counts, half), abs=1e-9)


def test_same_seed_and_epoch_same_batches():
    categories = categories_of([40, 20, 10, 5, 2, 1], 200)

    def flat(seed, epoch):
        return np.concatenate(batches.plan(categories, 16, seed, epoch)).tolist()

    assert flat(1, 2) == flat(1, 2)
    assert len({tuple(flat(*pair)) for pair in ((1, 2), (1, 3), (2, 1), (2, 2))}) == 4


def test_membership_order_and_normals_change_every_epoch():
    categories = categories_of([40, 20, 10, 5, 2, 1], 300)
    plans = [batches.plan(categories, 16, 0, epoch) for epoch in range(4)]
    company = [{frozenset(batch.tolist()) for batch in lesions_of(categories, plan)} for plan in plans]
    assert not company[0] & company[1]
    normals = [np.concatenate([b[len(b) // 2 :] for b in plan]) for plan in plans]
    assert len(np.intersect1d(normals[0], normals[1])) < len(normals[0])
    rarest = int(np.flatnonzero(categories == 6)[0])
    places = {next(i for i, batch in enumerate(plan) if rarest in batch) for plan in plans}
    assert len(places) > 1


def test_plain_shuffle_uses_all_but_mirrors_worse():
    categories = categories_of([300, 100, 80, 60, 30, 10], 0)
    plain = batches.plain_plan(categories, 32, 0, 0)
    assert sorted(np.concatenate(plain)) == list(range(580))
    tv = batches.quality(categories, plain)["tv"].mean()
    assert tv > 2 * batches.minimum_tv(categories, 32)


def test_quality_says_n():
    categories = np.array([1, 1, 2, 2, 1, 0, 0])
    report = batches.quality(categories, [np.array([0, 1, 5]), np.array([2, 3, 4])])
    assert report["n"].tolist() == [2, 3]
    assert report["batch"].tolist() == [1, 2]
    assert report["tv"].tolist() == pytest.approx([0.4, 0.6 - 1 / 3])


def test_lesion_half_alone_without_normals():
    plan = batches.plan(np.array([1, 2, 1, 2, 1]), 4, 0, 0)
    assert [len(batch) for batch in plan] == [2, 2, 1]


@pytest.mark.parametrize("size", [0, 1, 3, -2])
def test_batch_size(size):
    with pytest.raises(InputError, match=f"found {size}"):
        batches.plan(np.array([1, 0]), size, 0, 0)


def test_nothing_to_train_on():
    with pytest.raises(InputError, match="no slice with lesion"):
        batches.plan(np.zeros(5, int), 4, 0, 0)


def test_negative_seed():
    with pytest.raises(InputError, match="0 or more"):
        batches.plan(np.array([1, 0]), 2, -1, 0)


@pytest.mark.parametrize("plane", ["axial", "sagittal"])
def test_real_tables(atlas, plane):
    sizes = read_tables(atlas).planes[plane]["voxels"].to_numpy()
    lesions = size_category(sizes, plane, None)
    categories = np.concatenate([lesions, np.zeros(2 * len(lesions), int)])
    plan = batches.plan(categories, 32, 0, 1)
    assert_exact(categories, plan, 16)
    shares = np.bincount(lesions)[1:] * 16 / len(lesions) % 1
    assert batches.quality(categories, plan)["tv"].mean() == pytest.approx(
        (shares * (1 - shares)).sum() / 16, rel=0.01
    )
