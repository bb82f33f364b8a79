import io

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams
from PIL import Image

from lesions.grid import template_grid
from reports import curves, scores, style
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
