import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lesions.phantom.anatomy import load_template, make_anatomy
from lesions.phantom.lesions import (
    SHARES,
    SMALLEST,
    VOLUMES,
    Plan,
    _cut_to_size,
    draw_plan,
    grow_lesions,
    lesion_volume,
)

SPACING = 3.0


@pytest.fixture(scope="module")
def anatomy():
    return make_anatomy(load_template(SPACING), np.random.default_rng(0), (0.0, 0.0))


def test_volumes_are_the_real_tables_quantiles():
    assert len(SHARES) == len(VOLUMES)
    assert lesion_volume(0.0) == pytest.approx(13)
    assert lesion_volume(0.5) == pytest.approx(5290)
    assert lesion_volume(1.0) == pytest.approx(496656)
    # The mean over the shares is near the table's 33,226.
    assert np.mean([lesion_volume(s) for s in np.linspace(0, 1, 2001)]) == pytest.approx(33226, rel=0.1)


@given(seed=st.integers(0, 10**6), share=st.floats(0, 1), spacing=st.sampled_from([1.0, 2.0, 3.0]))
@settings(max_examples=100, deadline=None)
def test_a_plan_keeps_the_volume(seed, share, spacing):
    plan = draw_plan(np.random.default_rng(seed), share, spacing**3)
    wanted = max(lesion_volume(share) / spacing**3, SMALLEST)
    assert abs(sum(plan.voxels) - wanted) <= len(plan.voxels)
    assert min(plan.voxels) >= 5
    assert len(plan.voxels) == len(plan.elsewhere)
    assert not plan.elsewhere[0]


def test_counts_are_the_real_tables():
    counts = np.array([len(draw_plan(np.random.default_rng(s), 0.7, 1.0).voxels) for s in range(1000)])
    assert 0.42 < (counts == 1).mean() < 0.56
    assert (counts > 6).mean() > 0.02


@pytest.mark.parametrize("voxels", [(13,), (60, 20), (900, 40, 5), (6000,)])
def test_grown_lesions_have_the_planned_sizes_and_stay_apart(anatomy, voxels):
    plan = Plan(voxels, 1, (False,) * len(voxels))
    found, mask = grow_lesions(anatomy, plan, np.random.default_rng(5))
    labels, count = ndimage.label(mask, np.ones((3, 3, 3)))
    assert sorted(np.bincount(labels.ravel())[1:], reverse=True) == pytest.approx(voxels, rel=0.03)
    assert count == len(voxels) == len(found)


@pytest.mark.parametrize("seed", range(4))
def test_lesions_lie_in_the_brain_outside_the_ventricles(anatomy, seed):
    _, mask = grow_lesions(anatomy, Plan((800, 60), -1, (False, True)), np.random.default_rng(seed))
    inside = mask > 0
    assert (anatomy.depth[inside] <= -0.5).all()
    assert (anatomy.ventricles[inside] <= 0.4).all()


def test_sides(anatomy):
    x = np.broadcast_to(anatomy.coordinates()[0], anatomy.grid.shape)
    for side in (-1, 1):
        _, mask = grow_lesions(anatomy, Plan((1500,), side, (False,)), np.random.default_rng(1))
        assert np.sign(x[mask > 0]).mean() == pytest.approx(side, abs=0.05)


def test_an_island_is_neither_labeled_nor_drawn():
    score = np.full((9, 3, 3), 5.0, np.float32)
    score[:4], score[6:8] = 1.0, 0.9
    inside = _cut_to_size(score, np.zeros(score.shape, bool), 30)
    assert (inside[:4] >= 0).all()
    assert (inside[6:8] < -10).all()
