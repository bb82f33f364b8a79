import numpy as np
import pandas as pd
import pytest

from lesions.grid import Grid, Volume, template_grid
from lesions.places import LESION_COLUMNS, SHEET_PLACES, approximate, with_sheet
from lesions.slices import AXIS
from reports import style
from reports.frequency import draw_frequency, on_template, slice_indices
from reports.locations import draw_locations
from tests.reports.test_rainclouds import labels, outside, texts

GRID = template_grid(4.0)


@pytest.fixture
def found():
    places = ["cortical", "cortical", "subcortical", "other"]
    rows = [(f"s{i}", 1, 9, "left", place, 1.0, 0.0, 0.0, 0.0) for i, place in enumerate(places)]
    return approximate(pd.DataFrame(rows, columns=LESION_COLUMNS[:-1]))


def test_bars_say_number_share_subjects_and_that_they_are_approximate(found):
    figure = draw_locations(found.summary(), "Phantom data.")
    (axes,) = figure.axes
    assert axes.get_title() == "Approximate: 4 lesions of 4 subjects"
    assert labels(axes) == ["Left cortex, white matter", "Right cortex, white matter", "Left subcortical",
                            "Right subcortical", "Brainstem, cerebellum"]  # fmt: skip
    assert [bar.get_width() for bar in axes.patches] == [2, 0, 1, 0, 1]
    assert texts(axes)[0] == "2 (50.0 %)\nin 2 subjects"
    assert all(bar.get_hatch() for bar in axes.patches)
    assert "Approximate" in figure.get_supxlabel()
    assert "Phantom data." in figure.get_supxlabel()
    assert outside(figure) == []


def test_both_sources_have_a_panel_each(found):
    sheet = pd.DataFrame([[0, 3, 0, 0, 1]], index=["s1"], columns=list(SHEET_PLACES))
    figure = draw_locations(with_sheet(found, sheet).summary())
    assert [axes.get_title() for axes in figure.axes] == [
        "From the metadata sheet: 4 lesions of 1 subject",
        "Approximate: 3 lesions of 3 subjects",
    ]
    assert not any(bar.get_hatch() for bar in figure.axes[0].patches)
    assert [bar.get_width() for bar in figure.axes[0].patches] == [0, 0, 3, 0, 1]
    assert outside(figure) == []
    everybody = pd.DataFrame(
        [[1, 0, 0, 0, 0]] * 4, index=[f"s{i}" for i in range(4)], columns=list(SHEET_PLACES)
    )
    told = draw_locations(with_sheet(found, everybody).summary())
    assert "Approximate" not in told.get_supxlabel()


def test_a_lesion_off_the_template_is_shown_as_such(found):
    lesions = found.lesions.drop(columns="source").assign(location="unknown")
    figure = draw_locations(approximate(lesions).summary())
    assert labels(figure.axes[0])[-1] == "Outside the template"


def counts(boxes):
    data = np.zeros(GRID.shape, np.uint16)
    for box, value in boxes:
        data[tuple(slice(*ends) for ends in box)] += value
    return Volume(data, GRID)


def panels(figure):
    """(plane's axis, position, most subjects) of every slice drawn, and the color bar's texts."""
    slices = [axes for axes in figure.axes if len(axes.images) == 2]
    found = [
        (a.get_title()[0], float(a.get_title().split()[2]), a.images[1].get_array().max()) for a in slices
    ]
    (bar,) = [axes for axes in figure.axes if axes.get_ylabel()]
    low, high = bar.get_ylim()
    ticks = zip(bar.get_yticks(), bar.get_yticklabels(), strict=True)
    return found, [label.get_text() for place, label in ticks if low <= place <= high]


@pytest.mark.heavy
def test_the_map_shows_the_counts_and_the_subjects():
    frequency = counts([(((10, 20), (20, 30), (20, 30)), 3), (((12, 14), (22, 24), (22, 24)), 5)])
    figure = draw_frequency(frequency, on_template(frequency), 40, "Phantom data.")
    figure.canvas.draw()
    slices, scale = panels(figure)
    assert [axis for axis, _, _ in slices] == ["z"] * 6 + ["y"] * 3 + ["x"] * 3
    assert max(most for _, _, most in slices) == 8
    assert "8 (20 %)" in scale
    title = figure.get_suptitle()
    assert "40 subjects" in title
    assert "8 (20.0 %) at x -50, y -46, z 16 mm" in title
    assert "left is on the left" in figure.get_supxlabel()
    assert "Phantom data." in figure.get_supxlabel()
    assert outside(figure) == []


@pytest.mark.heavy
def test_one_lesion_of_one_subject_is_shown_in_every_slice_drawn():
    frequency = counts([(((30, 32), (20, 21), (20, 23)), 1)])
    figure = draw_frequency(frequency, on_template(frequency), 1)
    figure.canvas.draw()
    slices, scale = panels(figure)
    assert [axis for axis, _, _ in slices] == ["z"] * 3 + ["y"] + ["x"] * 2
    assert all(most == 1 for _, _, most in slices)
    assert len({(axis, position) for axis, position, _ in slices}) == len(slices)
    assert scale == ["1 (100 %)"]
    style.png(figure)


def test_slices_are_where_the_lesions_are_each_once():
    rng = np.random.default_rng(0)
    for _ in range(200):
        data = np.zeros((9, 11, 30), int)
        first, length = rng.integers(0, 20), rng.integers(1, 11)
        data[4, 5, first : first + length] = rng.integers(1, 9, length)
        most = int(rng.integers(1, 8))
        found = slice_indices(data, AXIS["axial"], most)
        assert len(found) == len(set(found)) == min(most, length)
        assert all(data[..., i].any() for i in found)


@pytest.mark.heavy
def test_a_grid_outside_mni_space_has_no_map():
    assert on_template(counts([])).shape == GRID.shape
    far = GRID.matrix.copy()
    far[:3, 3] += 150
    assert on_template(Volume(np.zeros(GRID.shape, np.uint16), Grid.of(GRID.shape, far))) is None


@pytest.mark.heavy
def test_left_is_left_and_the_template_lies_under_the_lesion():
    frequency = counts([(((5, 9), (25, 35), (15, 25)), 1)])  # low x: the left side
    figure = draw_frequency(frequency, on_template(frequency), 2)
    axial = figure.axes[0]
    shown = np.ma.filled(axial.images[1].get_array(), 0)
    left, right = axial.images[1].get_extent()[:2]
    columns = np.flatnonzero(shown.any(axis=0))
    assert left == 0 < right
    assert columns.max() < shown.shape[1] / 2
    assert axial.images[0].get_array()[shown > 0].mean() > 50  # on the brain, not beside it
    assert texts(axial) == ["L", "R"]
