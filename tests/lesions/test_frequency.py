import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lesions.frequency import count_masks, pack, unpack
from lesions.grid import Grid

GRID = Grid.of((9, 7, 8), np.eye(4))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.4), st.integers(1, 6))
def test_counts_are_the_sum_of_the_masks(seed, share, subjects):
    masks = np.random.default_rng(seed).random((subjects, *GRID.shape)) < share
    counted = count_masks(map(pack, masks), GRID)
    assert counted.data.dtype == np.uint16
    assert (counted.data == masks.sum(axis=0)).all()


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.4))
def test_packing_loses_nothing(seed, share):
    mask = np.random.default_rng(seed).random(GRID.shape) < share
    packed = pack(mask)
    box = tuple(slice(s, s + n) for s, n in zip(packed.start, packed.shape, strict=True))
    whole = np.zeros(GRID.shape, bool)
    whole[box] = unpack(packed)
    assert (whole == mask).all()


def test_a_large_lesion_packs_small():
    x, y, z = np.indices((197, 233, 189), sparse=True)
    mask = (x - 60) ** 2 + (y - 120) ** 2 + (z - 90) ** 2 < 49**2  # 493,000 voxels, as ATLAS's largest
    assert len(pack(mask).bits) < 30_000
