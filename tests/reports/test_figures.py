import io

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams
from PIL import Image
from scipy import stats

from lesions.grid import template_grid
from reports import curves, distributions, scores, style
from reports.content import Training

TABLE = pd.DataFrame({"subject": list("abcde"), "voxels": [10, 0, 300, 6000, 250000]})
FOLDS = pd.DataFrame({"subject": list("abcde"), "fold": [0, 0, 1, 2, 2]})


def test_groups_before_and_after_the_split_hold_every_lesion_once():
    found = distributions.groups(TABLE, FOLDS)
    assert {name: values.tolist() for name, values in found.items()} == {
        "Whole": [10, 300, 6000, 250000],
        "Hold-out": [10],
        "Fold 1": [300],
        "Fold 2": [6000, 250000],
    }
    assert list(distributions.groups(TABLE, pd.DataFrame())) == ["Whole"]


def test_category_counts_say_number_and_share():
    counts = distributions.category_counts(distributions.groups(TABLE, FOLDS), "3d", None).set_index("Group")
    assert counts.loc["Whole"].tolist() == [
        4, "2 (50.0 %)", "1 (25.0 %)", "0 (0.0 %)", "0 (0.0 %)", "0 (0.0 %)", "1 (25.0 %)"
    ]  # fmt: skip
    assert counts.loc["Hold-out", "0 to 5,000"] == "1 (100.0 %)"


def test_categories_are_named_by_their_edges_whatever_the_spacing():
    for spacing in (1.0, 3.0):
        grid = template_grid(spacing)
        names = ["0 to 5", "5 to 30", "30 to 60", "60 to 100", "100 to 200", "over 200"]
        assert distributions.category_names("3d", grid) == names
        assert distributions.category_names("sagittal", grid)[-2:] == ["3,000 to 5,000", "over 5,000"]
    assert distributions.category_unit("3d", grid) == "mL"
    assert distributions.category_unit("axial", None) == "pixels"


def test_sizes_are_in_milliliters_and_square_millimeters():
    grid = template_grid(2.0)
    assert distributions.size_unit("3d", grid) == (pytest.approx(0.008), "lesion volume per subject (mL)")
    assert distributions.size_unit("axial", grid) == (pytest.approx(4.0), "lesion area per slice (mm²)")
    assert distributions.size_unit("3d", None)[1] == "lesion volume (voxels)"


def test_a_raincloud_shows_n_and_the_data_where_they_are():
    axes = distributions.draw_sizes(distributions.groups(TABLE, FOLDS), "3d", template_grid(1.0)).axes[0]
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels == ["Whole\nn = 4", "Hold-out\nn = 1", "Fold 1\nn = 1", "Fold 2\nn = 2"]
    dots = next(c.get_offsets()[:, 0] for c in axes.collections if len(c.get_offsets()) == 4)
    np.testing.assert_allclose(sorted(dots), [0.01, 0.3, 6, 250])


def test_the_density_is_that_of_an_independent_implementation():
    values = np.random.default_rng(0).normal(size=500)
    at, height = distributions.density(values)
    np.testing.assert_allclose(height, stats.gaussian_kde(values)(at), atol=0.004)


def test_dots_are_limited_and_an_empty_group_is_drawn():
    many = {"Whole": np.arange(1, 2000), "Fold 1": np.array([], int), "Fold 2": np.array([5, 5, 5])}
    axes = distributions.draw_sizes(many, "axial", None).axes[0]
    assert sorted(len(c.get_offsets()) for c in axes.collections)[-1] == distributions.MOST_DOTS


def history(epochs=4):
    at = np.arange(1, epochs + 1)
    return pd.DataFrame({"epoch": at, "loss": 1 / at, "val_loss": 1.5 / at, "val_dice": 0.2 * at})


def test_learning_curves_mark_the_epoch_that_was_kept():
    figure = curves.draw_curves([Training("axial", 2, history(), 3)])
    upper, lower = figure.axes
    assert upper.get_title() == "axial, fold 2"
    kept = [upper.lines[-1].get_ydata()[0], lower.lines[-1].get_ydata()[0]]
    assert kept == pytest.approx([0.5, 0.6])
    assert [line.get_xdata()[0] for line in (upper.lines[-1], lower.lines[-1])] == [3, 3]
    assert curves.value_at(history(), "val_loss", 3) == pytest.approx(0.5)
    assert curves.value_at(history(), "val_loss", 9) is None
    assert curves.value_at(history(), "nothing", 3) is None


def test_learning_curves_without_validation_or_epochs_are_drawn():
    empty = Training("axial", 1, pd.DataFrame())
    lean = Training("coronal", 1, history(1).drop(columns=["val_loss", "val_dice"]), 1)
    style.svg(curves.draw_curves([empty, lean]))


def test_folds_of_a_plane_share_a_figure():
    of = lambda plane, fold: Training(plane, fold, history())  # noqa: E731
    names = lambda groups: [[(t.plane, t.fold) for t in group] for group in groups]  # noqa: E731
    single = [of("axial", 1), of("sagittal", 2)]
    assert names(curves.by_figure(single)) == [[("axial", 1), ("sagittal", 2)]]
    several = [of("axial", 2), of("axial", 1), of("sagittal", 1)]
    assert names(curves.by_figure(several)) == [[("axial", 1), ("axial", 2)], [("sagittal", 1)]]
    assert curves.by_figure([]) == []


@pytest.fixture
def holdout():
    rows = [
        (subject, name, size, dice, 0.5, 0.25, 100)
        for subject, size, values in (("a", 10, (0.1, 0.3)), ("b", 6000, (0.6, 0.8)), ("c", 0, (1.0, 0.0)))
        for name, dice in zip(("axial", "fused"), values, strict=True)
    ]
    names = ["subject", "prediction", "lesion_voxels", "dice", "recall", "precision", "volume_difference"]
    return pd.DataFrame(rows, columns=names)


def test_summaries_count_every_subject(holdout):
    found = scores.summary(holdout, template_grid(1.0)).set_index("Prediction")
    assert list(found.index) == ["axial", "fused"]
    assert found["n"].tolist() == [3, 3]
    assert found.loc["fused", "Dice mean"] == pytest.approx(1.1 / 3)
    assert found.loc["fused", "sd"] == pytest.approx(np.std([0.3, 0.8, 0.0]))
    assert found.loc["fused", "median"] == pytest.approx(0.3)
    assert found.loc["axial", "|Volume difference| median, mL"] == pytest.approx(0.1)


def test_scores_by_size_category(holdout):
    found = scores.by_category(holdout, None).set_index("Size category")
    assert found["n"].to_dict() == {"no lesion": 1, "0 to 5,000": 1, "5,000 to 30,000": 1}
    assert found.loc["5,000 to 30,000", "fused Dice mean"] == 0.8
    assert scores.by_category(holdout.head(0), None).empty


def test_the_dice_plot_puts_subjects_at_their_volume(holdout):
    left, right = scores.draw_dice(holdout, template_grid(1.0)).axes
    points = {c.get_label(): np.asarray(c.get_offsets()).tolist() for c in left.collections}
    assert points == {"axial": [[0.01, 0.1], [6, 0.6]], "fused": [[0.01, 0.3], [6, 0.8]]}
    assert [tick.get_text() for tick in right.get_xticklabels()] == ["axial\nn = 3", "fused\nn = 3"]


def test_figures_are_the_same_every_time_and_change_nothing_global(holdout):
    before = dict(rcParams)
    draw = lambda: scores.draw_dice(holdout, None)  # noqa: E731
    assert style.svg(draw()) == style.svg(draw())
    assert style.png(draw()) == style.png(draw())
    assert dict(rcParams) == before


def test_bytes_become_addresses_and_pngs_have_the_size_asked_for():
    figure = style.new_figure(2.0, 1.0)
    image = style.png(figure, dpi=50)
    assert Image.open(io.BytesIO(image)).size == (100, 50)
    assert style.data_uri(image).startswith("data:image/png;base64,")
    assert style.data_uri(style.svg(figure)).startswith("data:image/svg+xml;base64,")
