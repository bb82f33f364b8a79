import pytest

from lesions.evaluation import evaluate
from lesions.score_files import read_score_files
from reports.evaluation import as_page, notes, tables
from reports.evaluation_figure import draw_dice
from reports.tables import Table, as_markdown


@pytest.fixture
def evaluation(tmp_path):
    for k in (1, 2):
        rows = "\n".join(f"s{i // 3},{i},{i * k},{(i * 7) % 5},{i % 3}" for i in range(12))
        (tmp_path / f"axial_fold_{k}.csv").write_text(f"subject,slice,tp,fp,fn\n{rows}\n")
    return evaluate(read_score_files(sorted(tmp_path.glob("*.csv"))), "axial")


def test_tables_have_the_folds_their_mean_and_spread(evaluation):
    made = tables(evaluation)
    assert list(made) == ["folds", "summary", "pooled", "categories"]
    folds = made["folds"]
    assert [row[0] for row in folds.rows] == ["1", "2", "mean of 2 folds", "sd (sample) of 2 folds"]
    assert [row[1] for row in folds.rows] == ["12", "12", "-", "-"]
    dice = folds.columns.index("Dice")
    assert folds.rows[0][dice] == f"{evaluation.folds['dice_smoothed'][0]:.4f}"
    assert all(folds.right[1:])


def test_a_page_holds_every_table_and_note(evaluation):
    said = notes(evaluation)
    for markdown in (False, True):
        page = as_page("Title", tables(evaluation), said, markdown)
        assert all(one.caption in page for one in tables(evaluation).values())
        assert all(sentence in page for sentence in said)
    assert any("4 of 4 subjects are in more than one fold" in sentence for sentence in said)


def test_markdown_escapes_its_separator():
    made = as_markdown(Table("C", ("A", "B"), (("a|b", "1"),), (False, True), "N."))
    assert made == "**C**\n\n| A | B |\n| --- | ---: |\n| a\\|b | 1 |\n\nN."


def test_unknown_counts_and_planes_are_said(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(
        "subject,slice,lesion_voxels,dice,precision,recall\na,1,10,0.6,0.5,0.5454545\na,2,0,1,1,1\n"
    )
    made = evaluate(read_score_files([path]))
    said = " ".join(notes(made))
    assert "1 of 2 rows have scores that no whole TP, FP, FN give" in said
    assert "No size categories" in said
    assert "categories" not in tables(made)


def test_the_figure_has_a_row_per_fold_and_all(evaluation):
    figure = draw_dice(evaluation)
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == ["All folds\nn = 22", "Fold 1\nn = 11", "Fold 2\nn = 11"]
    assert "Dice of lesion slices (plain)" in figure.axes[0].get_xlabel()
