import numpy as np
import pytest
from matplotlib.collections import PathCollection
from scipy import stats

from reports import clouds, style


def drawn(groups, colors=None):
    figure = style.new_figure(5, 3)
    axes = figure.subplots()
    clouds.draw_scores(axes, groups, colors or {})
    return axes


def test_a_density_between_limits_is_mirrored_and_loses_nothing():
    values = np.random.default_rng(0).beta(5, 1, 400)
    width = clouds.scott(values)
    at, height = clouds.density(values, width, (0.0, 1.0))
    assert height.sum() * (at[1] - at[0]) == pytest.approx(1)
    kernel = stats.norm(scale=width)
    mirrored = np.concatenate([values, -values, 2 - values])
    expected = kernel.pdf(at[:, None] - mirrored).sum(axis=1) / len(values)
    np.testing.assert_allclose(height, expected, atol=0.03 * expected.max())


def test_zeros_are_said_and_take_their_share_of_the_cloud():
    scores = np.random.default_rng(1).uniform(0.2, 0.9, 60)
    half = np.concatenate([np.zeros(60), scores])
    axes = drawn({"all": scores, "half": half})
    assert [text.get_text() for text in axes.texts] == ["50 %\nare 0"]
    heights = [
        np.ptp(c.get_paths()[0].vertices[:, 1]) for c in axes.collections if not isinstance(c, PathCollection)
    ]
    assert heights[1] == pytest.approx(heights[0] / 2, rel=0.01)


def test_every_value_is_a_dot_with_its_mean_and_n():
    values = np.array([0.1, 0.5, 0.9])
    axes = drawn({"few": values, "none": np.array([])})
    (dots,) = [c.get_offsets() for c in axes.collections if len(c.get_offsets())]
    np.testing.assert_allclose(dots[:, 0], values)
    assert [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"] == [pytest.approx(0.5)]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["few\nn = 3", "none\nn = 0"]


@pytest.mark.parametrize("values", [[0.0] * 40, [1.0] * 40, [0.0, 1.0] * 20, [0.5]])
def test_scores_without_a_spread_are_drawn(values):
    style.png(drawn({"a": np.array(values)}).figure)
