import io

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams
from PIL import Image

from lesions.grid import template_grid
from reports import curves, score_figures, style
from reports.content import Training


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


def test_the_dice_plot_puts_subjects_at_their_volume(holdout):
    (axes,) = score_figures.draw_by_volume(holdout, template_grid(1.0)).axes
    points = {c.get_label(): np.asarray(c.get_offsets()).tolist() for c in axes.collections}
    assert points == {"axial": [[0.01, 0.1], [6, 0.6]], "fused": [[0.01, 0.3], [6, 0.8]]}


def test_every_subject_is_in_the_rainclouds_without_values_that_are_missing(holdout):
    holdout.loc[0, "precision"] = np.nan
    panels = score_figures.draw_subjects(holdout, "Phantom.").axes
    assert [axes.get_title() for axes in panels] == ["3-D Dice", "3-D Recall", "3-D Precision"]
    found = [sorted(c.get_offsets()[:, 0]) for c in panels[0].collections]
    assert found == [[0.1, 0.6, 1.0], [0.0, 0.3, 0.8]]
    assert [len(c.get_offsets()) for c in panels[2].collections] == [2, 3]


def test_slices_before_and_after_are_those_with_lesion(slices):
    figure = score_figures.draw_before_after(slices)
    assert [axes.get_title() for axes in figure.axes] == ["Axial: 2 subjects", "Coronal: 1 subjects"]
    found = [sorted(c.get_offsets()[:, 0].round(3).tolist()) for c in figure.axes[0].collections]
    assert found == [[0.5, 0.667], [0.8, 1.0]]


@pytest.fixture
def slices():
    columns = [
        "subject",
        "plane",
        "lesion_voxels",
        *(f"{n}_{s}" for s in ("before", "after") for n in ("tp", "fp", "fn")),
    ]
    rows = [
        ("a", "axial", 4, 2, 2, 2, 4, 2, 0),
        ("b", "axial", 4, 2, 0, 2, 4, 0, 0),
        ("b", "axial", 0, 0, 5, 0, 0, 0, 0),
        ("a", "coronal", 4, 1, 0, 3, 4, 0, 0),
    ]
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.heavy
def test_figures_are_the_same_every_time_and_change_nothing_global(holdout):
    before = dict(rcParams)
    draw = lambda: score_figures.draw_subjects(holdout)  # noqa: E731
    assert style.svg(draw()) == style.svg(draw())
    assert style.png(draw()) == style.png(draw())
    assert dict(rcParams) == before


def test_bytes_become_addresses_and_pngs_have_the_size_asked_for():
    figure = style.new_figure(2.0, 1.0)
    image = style.png(figure, dpi=50)
    assert Image.open(io.BytesIO(image)).size == (100, 50)
    assert style.data_uri(image).startswith("data:image/png;base64,")
    assert style.data_uri(style.svg(figure)).startswith("data:image/svg+xml;base64,")


def test_a_chart_of_many_marks_is_a_png_and_a_photo_takes_the_shorter_form(monkeypatch):
    figure = style.new_figure(2.0, 1.0)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1])
    assert style.embed(figure, "a", "c", vector=True).uri.startswith("data:image/svg+xml")
    monkeypatch.setattr(style, "MOST_SVG", 100)
    image = style.embed(figure, "a", "c", vector=True)
    assert image.uri.startswith("data:image/png")
    assert (image.width, image.height) == (210, 105)
    axes.imshow(np.zeros((4, 4)))
    flat = style.photo(figure, 100)
    assert Image.open(io.BytesIO(flat)).format == "PNG"
    noise = np.random.default_rng(0).normal(size=(400, 800)).cumsum(axis=1)
    axes.imshow(noise, aspect="auto")
    rough = style.photo(figure, 200)
    assert Image.open(io.BytesIO(rough)).format == "JPEG"
    assert style.data_uri(rough).startswith("data:image/jpeg;base64,")
