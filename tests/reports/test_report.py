import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from lesions.errors import InputError
from reports.content import RunReport
from reports.report import render, write_report

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Elements of a page, its text, and whether every element is closed where it must be."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.text, self.faults = [], [], "", []
        self.feed(html)
        self.close()
        self.faults += self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"/{tag}")

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page_file(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "new" / "report.html"
    write_report(content, path)
    return path


@pytest.fixture
def html(page_file):
    return page_file.read_text(encoding="utf-8")


@pytest.fixture
def few(parts):
    """The fields without what takes long to draw."""
    slow = {"pictures": [], "tables_plane": {}, "trainings": [], "frequency": None}
    empty = ("tables_3d", "locations", "batches", "slice_summary")
    return parts | slow | dict.fromkeys(empty, pd.DataFrame())


def words(html):
    return re.sub(r"\s+", " ", Page(html).text)


@pytest.mark.heavy
def test_a_whole_page_is_well_formed_loads_nothing_and_is_accessible(page_file, html):
    assert [path.name for path in page_file.parent.iterdir()] == ["report.html"]
    assert html.startswith("<!DOCTYPE html>")
    page = Page(html)
    assert page.faults == []
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            assert attributes.get(name, "#").startswith(("data:image/", "data:,", "#"))
    assert not {"script", "iframe", "object"} & {tag for tag, _ in page.elements}
    assert [link["href"] for link in page.all("link")] == ["data:,"]  # else a browser asks for a favicon
    assert "@import" not in html
    assert "url(" not in html
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in page.all("a")} <= set(ids)
    assert all(image["alt"].strip() for image in page.all("img"))
    assert {s["id"] for s in page.all("section")} == {a["href"][1:] for a in page.all("a")} - {
        "main",
        "contents",
    }
    assert len(page.all("caption")) == len(page.all("table")) > 8
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))


def test_every_holdout_subject_is_pictured_and_every_part_is_there(content, html):
    alts = " ".join(image["alt"] for image in Page(html).all("img"))
    for subject in content.holdout["subject"].unique():
        assert subject in alts
    text = words(html)
    for part in ("sub-r009s001", "copy again", "CPU, 2 cores", "1.26.4", "folds: 3", "release-7", "MWU p"):
        assert part in text
    assert "SHA-256 of the data set218ff565" in text
    assert "split.seed4" in text
    assert "Left out: 1 scan (1 error); 1 note." in text
    assert "optimistic" in text
    assert "6 min 06 s" not in text
    assert "8 min 08 s" in text  # eight epochs of 61 s


def test_the_lesions_are_shown_with_n_and_source(content, html):
    images = {image["alt"]: image["src"] for image in Page(html).all("img")}
    for plane in ("3-D", "Axial", "Sagittal", "Coronal"):
        assert any(alt.startswith(f"Distribution of {plane}: lesion sizes of ") for alt in images)
        assert f"{plane}: lesion sizes of every fold and the hold-out against the whole" in images
    assert "Lesion sizes before the split (whole) and after it (training, hold-out)" in images
    assert "Lesions by hemisphere and place (approximate)" in images
    assert "Lesion frequency map of 24 subjects on the MNI152 template" in images
    text = words(html)
    assert "ApproximateLeft cortex, white matter42416.7" in text.replace(" ", "").replace(
        "Leftcortex,whitematter", "Left cortex, white matter"
    )


@pytest.mark.heavy
def test_without_masks_places_are_said_to_be_missing(few):
    text = words(render(RunReport(**few)))
    assert "The places of the lesions are not known in this run." in text
    assert "No lesion frequency map: masks on one grid are needed for it." in text


@pytest.mark.heavy
def test_what_the_metadata_sheet_lacks_is_said(few):
    text = words(
        render(RunReport(**few | {"location_notes": ("Metadata sheet x.csv: no column for other.",)}))
    )
    assert "Metadata sheet x.csv: no column for other." in text


def test_headline_numbers_are_those_of_the_rows(content, html):
    text = words(html)
    for name in ("fused", "axial", "sagittal", "coronal"):
        dice = np.array([row.dice for row in content.holdout.itertuples() if row.prediction == name])
        shown = f"n = {len(dice)}, sd {np.std(dice):.3f}, median {np.median(dice):.3f}, 95 % interval"
        label = "Fused, mean 3-D Dice" if name == "fused" else f"{name.capitalize()} alone"
        assert f"{label}{dice.mean():.3f}{shown}" in text
    assert (
        "above that of every single plane, not significantly against" in text
    )  # all six alike: p = 0.031 x 3


@pytest.mark.heavy
def test_fusion_that_does_not_help_is_said(few):
    rows = few["scores"].copy()
    rows.loc[(rows["prediction"] == "axial") & (rows["score"] == "dice"), "mean"] += 0.06
    text = words(render(RunReport(**few | {"scores": rows})))
    assert "not above that of axial alone" in text


@pytest.mark.heavy
def test_statement_is_at_the_top_and_tells_phantom_from_real(few):
    phantom = words(render(RunReport(**few)))
    assert (
        phantom.index("Phantom data: every scan") < phantom.index("Trained on 12") < phantom.index("Hold-out")
    )
    real = words(
        render(RunReport(**few | {"phantom": False, "statement": "Trained on 12 subjects of ATLAS."}))
    )
    assert "Real scans." in real
    assert "Trained on 12 subjects of ATLAS." in real
    assert "phantom data" not in real.lower()
    assert "synthetic" not in real


@pytest.mark.heavy
def test_findings_are_counted_by_kind_and_listed_gravest_first(few):
    place = ["not in MNI space", "10 mm", "19 mm", "register"]
    rows = [
        *([f"sub-{i:03d}", f"{i}.nii.gz", *place, "warning", "ses-1"] for i in range(300)),
        ["sub-900", "900.nii.gz", "axes not RAS", "RAS", "LAS", "nothing to do", "note", "ses-1"],
        ["sub-900", "901.nii.gz", "second session", "one", "two", "nothing to do", "error", "ses-2"],
        ["sub-901", "902.nii.gz", "empty mask", "one", "none", "mend it", "error", ""],
        ["sub-901", "903.nii.gz", "constant image", "a scan", "0", "mend it", "error", ""],
    ]
    columns = ["subject", "file", "problem", "expected", "found", "remedy", "severity", "session"]
    text = words(render(RunReport(**few | {"findings": pd.DataFrame(rows, columns=columns)})))
    assert "Left out: 2 scans (3 errors); 300 warnings (used, but to be looked at); 1 note." in text
    assert "warningnot in MNI space300" in text
    listed = text[text.index("file by file") :]
    order = [listed.index(name) for name in ("901.nii.gz", "902.nii.gz", "903.nii.gz", "0.nii.gz")]
    assert order == sorted(order)
    assert "The first 200 of 304 rows." in listed


@pytest.mark.heavy
def test_text_is_escaped(few):
    evil = "<script>alert('x')</script>"
    findings = few["findings"].assign(subject=evil, found=evil)
    holdout = few["holdout"].replace("sub-r001s000", evil)
    few |= {"uncertainty": few["uncertainty"].replace("sub-r001s000", evil)}
    few |= {"title": evil, "findings": findings, "holdout": holdout, "config": evil}
    html = render(RunReport(**few | {"lineage": {evil: {evil: evil}}}))
    assert "<script" not in html
    assert Page(html).faults == []
    assert Page(html).text.count(evil) >= 5


def test_an_empty_run_says_what_is_missing():
    html = render(RunReport("Nothing", "No training.", phantom=False))
    assert Page(html).faults == []
    text = words(html)
    for part in (
        "no test result",
        "No fold map",
        "No training is recorded",
        "No models were recorded",
        "no masks",
    ):
        assert part in text


@pytest.mark.heavy
def test_a_failed_gate_says_which_and_by_how_much(few):
    gates = pd.DataFrame(
        [("Dice, fused", 0.6, 0.5731, False), ("axial", 0.2, 0.3, True), ("coronal", 0.2, np.nan, False)],
        columns=["gate", "threshold", "value", "passed"],
    )
    text = words(render(RunReport(**few | {"gates": gates, "release": None})))
    assert "Not blessed: 2 of 3 gates failed" in text
    assert "Dice, fused, 0.573 is 0.027 below 0.600" in text
    assert "coronal, no value" in text
    assert "Nothing was released" in text


@pytest.mark.heavy
def test_a_subject_in_two_parts_is_reported(few, parts):
    folds = pd.concat([few["folds"], few["folds"].head(1).assign(fold=2)])
    text = words(render(RunReport(**few | {"folds": folds, "tables_3d": parts["tables_3d"]})))
    assert "1 subject is in several parts" in text


@pytest.mark.heavy
def test_checks_without_a_problem_are_no_anomalies(few):
    checks = pd.DataFrame({"feature": ["size_category", "image"], "problem": [np.nan, ""]})
    assert "0 of 2 checks" in words(render(RunReport(**few | {"anomalies": checks})))
    checks.loc[0, "problem"] = "drift"
    assert "1 of 2 checks" in words(render(RunReport(**few | {"anomalies": checks})))


@pytest.mark.heavy
def test_the_same_content_gives_the_same_page(content, html):
    assert render(content) == html


def test_unwritable_folder_is_an_input_error_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(RunReport("T", "S", phantom=True), tmp_path / "file" / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
