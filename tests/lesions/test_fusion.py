import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lesions import fusion

volumes = st.integers(1, 4).flatmap(
    lambda n: st.lists(
        hnp.arrays(np.float32, (2, 3, 2), elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
        min_size=n,
        max_size=n,
    )
)


@pytest.mark.heavy
@given(volumes)
def test_rules_against_a_loop(parts):
    stack = np.stack(parts).astype(float)
    mean, mask = fusion.fuse_mean(parts)
    assert mean.dtype == np.float32
    assert mask.dtype == np.uint8
    np.testing.assert_allclose(mean, stack.mean(axis=0), atol=1e-6)
    sums = 4 * stack.sum(axis=0)  # whole numbers: the decision is exact
    np.testing.assert_array_equal(mask, sums >= 2 * len(parts))
    _, majority = fusion.fuse_majority(iter(parts))
    np.testing.assert_array_equal(majority, (stack >= 0.5).sum(axis=0) > len(parts) / 2)
    np.testing.assert_array_equal(fusion.disagreement(parts), np.ptp(stack, axis=0))


def test_the_rules_differ():
    parts = [np.full((1, 1, 1), p, np.float32) for p in (0.6, 0.6, 0.1)]
    assert fusion.fuse_mean(parts)[1].item() == 0
    assert fusion.fuse_majority(parts)[1].item() == 1


def test_threshold():
    parts = [np.full((1, 1, 1), p, np.float32) for p in (0.25, 0.5)]
    assert fusion.fuse_mean(parts, 0.375)[1].item() == 1
    assert fusion.fuse_mean(parts, 0.376)[1].item() == 0
    assert fusion.fuse_majority(parts, 0.25)[1].item() == 1
    assert fusion.fuse_majority(parts, 0.3)[1].item() == 0


def test_inputs_are_left_alone():
    parts = [np.full((2, 2, 2), 0.25, np.float32), np.ones((2, 2, 2), np.float32)]
    fusion.fuse_mean(parts)
    fusion.disagreement(parts)
    assert (parts[0] == 0.25).all()


@pytest.mark.parametrize("rule", [fusion.fuse_mean, fusion.fuse_majority, fusion.disagreement])
def test_bad_volumes(rule):
    with pytest.raises(ValueError, match="found none"):
        rule([])
    with pytest.raises(ValueError, match="one shape"):
        rule([np.ones((2, 2, 2)), np.ones((2, 2, 3))])
