import numpy as np
import pytest

from lesions.grid import template_grid
from lesions.phantom.fields import smooth_field, soft_step


def field(spacing, scale=20.0, seed=3, box=None):
    return smooth_field(np.random.default_rng(seed), template_grid(spacing), scale, box)


def test_a_seed_gives_the_same_field_at_every_spacing():
    fine, coarse = field(2.0), field(6.0)
    assert fine.dtype == np.float32
    shared = fine[::3, ::3, ::3]
    np.testing.assert_allclose(coarse, shared[tuple(slice(n) for n in coarse.shape)], atol=1e-4)
    assert np.abs(field(6.0, seed=4) - coarse).max() > 0.5


@pytest.mark.parametrize("scale", [8.0, 20.0])
def test_mean_and_spread(scale):
    values = field(3.0, scale)
    assert abs(values.mean()) < 0.15
    assert 0.85 < values.std() < 1.15


def test_smooth_over_the_given_distance():
    values = field(3.0, 30.0)
    assert np.abs(np.diff(values, axis=0)).max() < 0.5 * values.std()


def test_a_box_is_cut_from_the_whole():
    box = (slice(3, 9), slice(0, 5), slice(20, 22))
    np.testing.assert_allclose(field(3.0, box=box), field(3.0)[box], atol=1e-5)


def test_soft_step():
    step = soft_step(np.array([-1e6, -1.0, 0.0, 1.0, 1e6]), 2.0)
    np.testing.assert_allclose(step[[0, 2, 4]], [0.0, 0.5, 1.0], atol=1e-6)
    assert (np.diff(step) > 0).all()
