"""A comparison's page: every variant beside the floor, and words that say no more than the tests do."""

import json

import numpy as np
import pandas as pd
import pytest

from lesions.significance import compare
from reports import comparison
from reports.blocks import Bullets, Heading, Image, TableBlock, Text
from reports.comparisons import ABOUT, comparisons, comparisons_digest, read_comparisons
from reports.content import RunReport
from reports.report import render
from reports.style import png

VARIANTS = ["dice", "focal"]
FIGURES = ("n", "mean", "sd_sample", "ci_low", "ci_high")


def scores():
    rows = []
    for place, name in enumerate(VARIANTS):
        row = {"plane": "axial", "variant": name, "published_dice_floor": 0.4519}
        for prefix in ("published", "lesion", "subjects"):
            for metric in ("dice", "recall", "precision"):
                row |= {f"{prefix}_{metric}_{figure}": 0.1 * place + 0.5 for figure in FIGURES}
        rows.append(row | {"subjects_dice_n": 20})
    return pd.DataFrame(rows)


def subjects(difference, spread=0.01):
    rng = np.random.default_rng(0)
    first = rng.uniform(0.3, 0.6, 20)
    second = first + difference + spread * rng.standard_normal(20)
    names = [f"sub-{i}" for i in range(20)]
    parts = [
        pd.DataFrame({"plane": "axial", "variant": v, "subject": names, "dice": values})
        for v, values in zip(VARIANTS, (first, second), strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def costs():
    row = {"plane": "axial", "fold": 1, "parameters": 4_837_473, "gflops": 8.55, "seconds_per_slice": 0.031}
    row |= {"epochs": 3, "best_epoch": 2, "seconds_per_epoch": 30.0, "seconds_to_best": 61.0, "seconds": 90.0}
    return pd.DataFrame([{"variant": name} | row for name in VARIANTS])


def page(difference, **options):
    tests = compare(subjects(difference), "dice", method="variant").assign(plane="axial")
    made = {"scores": scores(), "costs": costs(), "significance": tests}
    return comparison.page("Losses compared", made, True, "cpu", **options)


def test_the_floor_stands_in_every_row_beside_slice_dice():
    text = page(0.0)
    heading, _, *rows = [line for line in text.splitlines() if line.startswith("|")]
    columns = [cell.strip() for cell in heading.split("|")]
    for row in rows[:2]:
        assert [cell.strip() for cell in row.split("|")][columns.index("Floor")] == "0.452"
    assert "4,837,473" in text
    assert "1 min 01 s" in text
    assert "Phantom figures" in text


@pytest.mark.parametrize(("difference", "count"), [(0.1, 1), (0.0, 0)])
def test_words_say_what_is_significant_and_never_that_variants_are_equal(difference, count):
    text = page(difference)
    assert f"after Holm's correction: {count} of 1." in text
    assert ("do not show equality" in text) == (count == 0)
    assert "Over 20 subjects, mean dice of dice is" in text


def test_what_is_missing_is_said():
    assert "Missing: focal, axial, fold 2: killed." in page(0.1, failed=["focal, axial, fold 2: killed"])


def test_figures_are_drawn_for_one_plane_and_for_several():
    rows = pd.concat([subjects(0.1), subjects(0.2).assign(plane="coronal")])
    history = pd.DataFrame({"epoch": [1, 2, 3], "val_dice": [0.1, 0.3, 0.2]})
    for given in (subjects(0.1), rows):
        figure = comparison.draw_dice(given)
        assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == VARIANTS
        assert png(figure)[:4] == b"\x89PNG"
    curves = [(name, plane, 1, history) for name in VARIANTS for plane in ("axial", "coronal")]
    figure = comparison.draw_curves(curves)
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]
    assert png(figure)[:4] == b"\x89PNG"


@pytest.fixture
def root(tmp_path):
    """A root in which losses were compared, and the evaluations that were made for it."""
    folder = tmp_path / "losses"
    folder.mkdir()
    (tmp_path / "evaluations").mkdir()
    tests = compare(subjects(0.1), "dice", method="variant").assign(plane="axial")
    frames = {"scores": scores(), "costs": costs(), "significance": tests, "subjects": subjects(0.1)}
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    about = {"title": "Losses compared on P", "device": "one processor", "failed": ["focal, fold 2: killed"]}
    (folder / ABOUT).write_text(json.dumps(about))
    return tmp_path


def test_the_report_shows_a_comparison_that_was_run(root):
    content = RunReport("T", "S", phantom=True, comparisons=read_comparisons(root))
    section = comparisons(content)
    kinds = [type(block) for block in section.blocks]
    assert kinds == [Text, Heading, Text, TableBlock, Text, Bullets, Image, TableBlock]
    caution, heading, missing, table, verdict, sentences, _, cost = section.blocks
    assert "no test" in caution.text
    assert heading.text == "Losses compared on P"
    assert missing.text == "Missing: focal, fold 2: killed."
    assert "Floor" in table.table.columns
    assert "1 of 1" in verdict.text
    assert len(sentences.texts) == 1
    assert "one processor" in cost.table.note
    page = render(content)
    assert 'href="#comparisons"' in page
    assert 'id="comparisons"' in page


def test_without_a_comparison_the_report_has_no_such_section(tmp_path):
    assert read_comparisons(tmp_path / "compare") == ()
    assert comparisons_digest(tmp_path / "compare") == ""
    assert "comparisons" not in render(RunReport("T", "S", phantom=True))


def test_another_result_is_another_digest(root):
    before = comparisons_digest(root)
    path = root / "losses" / "scores.csv"
    path.write_text(path.read_text().replace("0.6", "0.7"))
    assert before
    assert comparisons_digest(root) != before
