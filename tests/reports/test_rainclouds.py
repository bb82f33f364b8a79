import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from scipy import stats

from lesions.folds import quality
from lesions.grid import template_grid
from lesions.slices import PLANES
from lesions.statistics import Tables
from reports import clouds, distributions, rainclouds, style

TABLE = pd.DataFrame({"subject": list("abcde"), "voxels": [10, 0, 300, 6000, 250000]})
FOLDS = pd.DataFrame({"subject": list("abcde"), "fold": [0, 0, 1, 2, 2]})
NONE = pd.DataFrame()


def texts(axes):
    return [text.get_text() for text in axes.texts]


def labels(axes):
    return [tick.get_text() for tick in axes.get_yticklabels()]


def outside(figure):
    """Texts that the figure's border cuts off."""
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    said = [figure._supxlabel, *filter(None, [figure._suptitle])]
    for axes in figure.axes:
        said += [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            ticks = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
            said += [label for place, label in ticks if min(limits) <= place <= max(limits)]
    boxes = [(text.get_text(), text.get_window_extent()) for text in said if text.get_text()]
    return [text for text, b in boxes if b.x0 < -1 or b.y0 < -1 or b.x1 > width + 1 or b.y1 > height + 1]


def test_groups_before_and_after_the_split_hold_every_lesion_once():
    found = distributions.groups(TABLE, FOLDS)
    assert {name: values.tolist() for name, values in found.items()} == {
        "Whole": [10, 300, 6000, 250000],
        "Hold-out": [10],
        "Fold 1": [300],
        "Fold 2": [6000, 250000],
    }
    assert list(distributions.groups(TABLE, NONE)) == ["Whole"]
    halves = distributions.halves(found)
    assert {name: sorted(values) for name, values in halves.items()} == {
        "Whole": [10, 300, 6000, 250000],
        "Training": [300, 6000, 250000],
        "Hold-out": [10],
    }


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


def test_the_whole_is_drawn_with_n_its_data_and_the_counts_by_category():
    figure = rainclouds.draw_sizes(
        np.array([10, 300, 6000, 250000]), "3d", template_grid(1.0), "Phantom data."
    )
    cloud, bars = figure.axes
    assert labels(cloud) == ["Whole\nn = 4"]
    dots = next(c.get_offsets()[:, 0] for c in cloud.collections if len(c.get_offsets()) == 4)
    np.testing.assert_allclose(sorted(dots), [0.01, 0.3, 6, 250])
    assert [bar.get_width() for bar in bars.patches] == [2, 1, 0, 0, 0, 1]
    assert texts(bars)[0] == "2 (50.0 %)"
    assert labels(bars)[-1] == "over 200"
    assert "Phantom data." in figure.get_supxlabel()
    assert outside(figure) == []


@pytest.mark.heavy
def test_the_golden_category_counts_are_drawn(atlas):
    """(docs/spec/method.md#size-categories)."""
    for table, counts in (
        ("3d", [319, 154, 64, 49, 44, 25]),
        ("axial", [15725, 5434, 4341, 4297, 1848, 1344]),
    ):
        sizes = pd.read_csv(atlas / f"lesions_{table}.csv")["voxels"].to_numpy()
        figure = rainclouds.draw_sizes(sizes, table, None)
        assert [bar.get_width() for bar in figure.axes[1].patches] == counts
        assert outside(figure) == []


@pytest.fixture(scope="module")
def cohort():
    """60 subjects, a hold-out of 12 and four folds of 12, with the quality that `raxnet folds` writes."""
    rng = np.random.default_rng(0)
    subjects = [f"s{i:02d}" for i in range(60)]
    whole = pd.DataFrame({"subject": subjects, "voxels": np.exp(rng.normal(8, 2, 60)).astype(int) + 1})
    slices = pd.DataFrame({"subject": np.repeat(subjects, 9), "voxels": rng.integers(1, 4000, 540)})
    folds = pd.DataFrame({"subject": subjects, "fold": np.arange(60) % 5})
    tables = Tables(whole, dict.fromkeys(PLANES, slices))
    return {"3d": whole, **tables.planes}, folds, quality(tables, folds)


@pytest.mark.heavy
def test_before_and_after_the_split_are_in_one_figure(cohort):
    tables, folds, measured = cohort
    figure = rainclouds.draw_split(tables, folds, measured, None, "Phantom data.")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "3-D: 60 subjects",
        *(f"{plane.capitalize()}: 540 slices with a lesion" for plane in PLANES),
    ]
    assert labels(figure.axes[0]) == ["Whole\nn = 60", "Training\nn = 48", "Hold-out\nn = 12"]
    row = measured.iloc[0]
    assert f"TV {row['tv']:.4f}, KS {row['ks']:.4f}, MWU p {row['mwu_p']:.3f}" in texts(figure.axes[0])[0]
    assert outside(figure) == []
    single = rainclouds.draw_split({"3d": tables["3d"]}, folds, NONE, None)
    assert len(single.axes) == 1
    assert texts(single.axes[0]) == []
    assert outside(single) == []


@pytest.mark.heavy
def test_every_fold_stands_beside_its_measures(cohort):
    tables, folds, measured = cohort
    for table, frame in tables.items():
        figure = rainclouds.draw_folds(frame, table, folds, measured, None, "Phantom data.")
        axes = figure.axes[0]
        assert [label.split("\n")[0] for label in labels(axes)] == [
            "Whole", "Hold-out", "Fold 1", "Fold 2", "Fold 3", "Fold 4"
        ]  # fmt: skip
        at = {(round(t.get_position()[0], 3), t.get_position()[1]): t.get_text() for t in axes.texts}
        for row in measured[measured["table"] == table].itertuples():
            shown = [at[x, 1 + row.fold] for x in (1.04, 1.115, 1.19)]
            assert shown == [f"{row.tv:.4f}", f"{row.ks:.4f}", f"{row.mwu_p:.3f}"]
            assert f"n = {row.n:,}" in labels(axes)[1 + row.fold]
        assert outside(figure) == []


def test_measures_that_are_missing_are_a_dash(cohort):
    tables, folds, measured = cohort
    figure = rainclouds.draw_folds(tables["3d"], "3d", folds, measured.assign(mwu_p=np.nan), None)
    assert texts(figure.axes[0])[3:6][-1] == "-"
    unmeasured = rainclouds.draw_folds(tables["3d"], "3d", folds, NONE, None)
    assert texts(unmeasured.axes[0]) == ["TV", "KS", "MWU p"]


def test_the_density_is_that_of_an_independent_implementation():
    values = np.random.default_rng(0).normal(size=500)
    at, height = clouds.density(values, clouds.scott(values))
    np.testing.assert_allclose(height, stats.gaussian_kde(values)(at), atol=0.004)


def test_clouds_of_a_figure_share_bandwidth_and_scale(cohort):
    """The same sizes in whole and training: the same cloud, however many there are."""
    values = np.repeat(np.arange(100, 160), 5)
    folds = pd.DataFrame({"subject": [f"s{i}" for i in range(300)], "fold": 1 + np.arange(300) % 5 // 4})
    table = pd.DataFrame({"subject": folds["subject"], "voxels": values})
    axes = rainclouds.draw_folds(table, "3d", folds, NONE, None).axes[0]
    drawn = [c for c in axes.collections if not isinstance(c, PathCollection)]
    assert len(drawn) == 3
    heights = [np.ptp(c.get_paths()[0].vertices[:, 1]) for c in drawn]
    np.testing.assert_allclose(heights, heights[0], rtol=0.02)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "sizes", [[], [7], [5, 5, 5], [5] * 40, [1, 2], [3, 30, 300, 3000, 30000], range(1, 3000)]
)
def test_few_equal_and_many_sizes_are_drawn(sizes):
    figure = rainclouds.draw_sizes(np.array(sizes, int), "axial", None)
    dots = [len(c.get_offsets()) for c in figure.axes[0].collections if isinstance(c, PathCollection)]
    assert dots == [min(len(sizes), clouds.MOST_DOTS)]
    assert outside(figure) == []
    style.png(figure)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (5, 6), (1, 20), (13, 500_000), (0.009, 500)])
def test_a_logarithmic_axis_has_numbers_whatever_its_range(low, high):
    figure = style.new_figure(5, 2)
    axes = figure.subplots()
    style.log_x(axes)
    style.log_limits(axes, low, high)
    left, right = axes.get_xlim()
    assert left < low <= high < right
    shown = [tick for tick in axes.get_xticks() if left <= tick <= right]
    assert 2 <= len(shown) <= 8
