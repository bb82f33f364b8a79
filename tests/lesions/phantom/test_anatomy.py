import numpy as np
import pytest

from lesions.grid import template_grid
from lesions.phantom.anatomy import load_template, make_anatomy


@pytest.fixture(scope="module")
def template():
    return load_template(4.0)


@pytest.mark.heavy
def test_maps_are_on_the_wanted_grid(template):
    anatomy = make_anatomy(template, np.random.default_rng(0), (0.0, 0.0))
    for data in (anatomy.t1, anatomy.grey, anatomy.white, anatomy.ventricles, anatomy.depth):
        assert data.shape == template_grid(4.0).shape
        assert np.isfinite(data).all()
    assert 1.1e6 < (anatomy.depth < 0).sum() * 64 < 2.3e6  # mm^3 in the hull


def test_ventricles_are_dark_and_lie_in_the_middle(template):
    anatomy = make_anatomy(template, np.random.default_rng(0), (0.0, 0.0))
    ventricles = anatomy.ventricles > 0.8
    assert 2e3 < ventricles.sum() * 64 < 6e4
    cortex = anatomy.grey > 0.8
    assert anatomy.t1[ventricles].mean() < 0.75 * anatomy.t1[cortex].mean()
    assert anatomy.depth[ventricles].max() < -8


def test_a_ventricle_grows_on_its_own_side(template):
    x = np.broadcast_to(
        make_anatomy(template, np.random.default_rng(1), (0.0, 0.0)).coordinates()[0], template.grid.shape
    )

    def sizes(enlarged):
        ventricles = make_anatomy(template, np.random.default_rng(1), enlarged).ventricles
        return ventricles[x < -8].sum(), ventricles[x > 8].sum()

    left, right = sizes((0.0, 0.0))
    grown_left, same_right = sizes((4.0, 0.0))
    assert grown_left > 1.3 * left
    assert same_right < 1.15 * right


def test_subjects_differ(template):
    one, two = (make_anatomy(template, np.random.default_rng(s), (0.0, 0.0)).t1 for s in (1, 2))
    assert np.abs(one - two).mean() > 2
