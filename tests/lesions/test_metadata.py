"""Metadata sheets as people have them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lesions.errors import InputError
from lesions.metadata import find_sheet, read_sheet, subject_key
from lesions.places import SHEET_PLACES

HEADER = [
    "Subject ID",
    "Session",
    "# Lesions LH Cortical and White Matter",
    "# Lesions LH Subcortical",
    "# Lesions RH Cortical and White Matter",
    "# Lesions RH Subcortical",
    "# Lesions Other Location",
    "Other Location",
    "Primary Stroke Hemisphere",
    "Primary Stroke Location",
    "Lesion Volume",
]
ROWS = [
    ["sub-r001s001", "ses-1", 0, 1, 1, 2, 0, None, "Right", "Frontal lobe", 12003.0],
    ["sub-r001s002", "ses-1", 1, 0, 0, 0, 0, None, "Left", "Insula", 700.0],
    ["sub-r001s003", "ses-1", 0, 0, 0, 0, 2, "Pons", None, "Pons", 91.0],
]
COUNTS = {"r001s001": [0, 1, 1, 2, 0], "r001s002": [1, 0, 0, 0, 0], "r001s003": [0, 0, 0, 0, 2]}


def write(path, header=HEADER, rows=ROWS, before=(), tab="Sheet1", **options):
    table = pd.DataFrame([*before, header, *rows])
    if path.suffix == ".xlsx":
        with pd.ExcelWriter(path) as book:
            if tab != "Sheet1":
                pd.DataFrame([["read me first"], ["subject", "see next tab"]]).to_excel(
                    book, sheet_name="About", header=False, index=False
                )
            table.to_excel(book, sheet_name=tab, header=False, index=False)
    else:
        table.to_csv(path, header=False, index=False, **options)
    return path


def as_dict(sheet):
    assert list(sheet.counts.columns) == list(SHEET_PLACES)
    return {key: row.tolist() for key, row in zip(sheet.counts.index, sheet.counts.to_numpy(), strict=True)}


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["20220425_ATLAS_2.0_MetaData.xlsx", "meta.csv"])
@pytest.mark.parametrize("before", [(), (["ATLAS R2.0 metadata"], ["see the paper", None, "x"])])
def test_atlas_sheets_are_read(tmp_path, name, before):
    sheet = read_sheet(write(tmp_path / name, before=before))
    assert as_dict(sheet) == COUNTS
    assert sheet.notes == ("columns not used: Session, Other Location, Primary Stroke Hemisphere, "
                           "Primary Stroke Location, Lesion Volume",)  # fmt: skip


def test_the_tab_that_has_the_columns_is_taken(tmp_path):
    assert as_dict(read_sheet(write(tmp_path / "a.xlsx", tab="Data"))) == COUNTS


@pytest.mark.parametrize(
    ("options", "encoding"),
    [
        ({"sep": ";"}, "utf-8-sig"),
        ({"sep": "\t"}, "utf-8"),
        ({}, "cp1252"),
        ({"lineterminator": "\r\n"}, "utf-16"),
    ],
)
def test_separators_and_encodings(tmp_path, options, encoding):
    rows = [[*row[:9], "Größe, links; µ", row[10]] for row in ROWS]
    path = write(tmp_path / "a.csv", rows=rows, encoding=encoding, **options)
    assert as_dict(read_sheet(path)) == COUNTS


SPELLINGS = {
    "lh_cortical": ["#LESIONS LH CORTICAL AND WHITE MATTER", "lesions_lh_cortical", "Left cortical lesions",
                    "LesionsLHCortical", " #  lesions  lh  cortical and\nwhite matter "],
    "lh_subcortical": ["# lesions LH Sub-cortical", "N strokes, left subcortical", "lhsubcortical"],
    "rh_cortical": ["# Lesions (RH) Cortical and White-Matter", "right_cortex_lesions"],
    "rh_subcortical": ["# Lesions RH subcortical", "Right Sub Cortical"],
    "other": ["#Lesions OtherLocation", "other lesions", "Number of strokes, other location"],
}  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(
    st.fixed_dictionaries({place: st.sampled_from(names) for place, names in SPELLINGS.items()}),
    st.sampled_from(["subject id", "Subject_ID", "SUBJECT", "participant_id", "ID"]),
    st.permutations(range(6)),
    st.integers(0, 4),
)
def test_headings_in_any_spelling_and_order(tmp_path_factory, names, subject, order, titles):
    columns = [(subject, ["R001S001", "sub_r001s002"])]
    columns += [(names[place], [k, k + 1]) for k, place in enumerate(SHEET_PLACES)]
    columns = [columns[i] for i in order]
    path = tmp_path_factory.mktemp("sheet") / "any.csv"
    before = [["a title", "of", "the", "sheet"]] * titles
    rows = [[values[i] for _, values in columns] for i in range(2)]
    write(path, header=[name for name, _ in columns], rows=rows, before=before)
    assert as_dict(read_sheet(path)) == {"r001s001": [0, 1, 2, 3, 4], "r001s002": [1, 2, 3, 4, 5]}


def test_missing_columns_are_said_and_taken_as_none(tmp_path):
    sheet = read_sheet(write(tmp_path / "a.csv", header=HEADER[:4], rows=[r[:4] for r in ROWS]))
    assert as_dict(sheet) == {"r001s001": [0, 1, 0, 0, 0], "r001s002": [1, 0, 0, 0, 0]}
    assert "no column for rh_cortical, rh_subcortical, other: taken as no lesion there" in sheet.notes
    assert "no lesion counted, row passed over: r001s003" in sheet.notes


def test_rows_that_cannot_be_used_are_said(tmp_path):
    rows = [
        ["sub-1", "s", "two", 0, 0, 0, 0],
        ["sub-2", "s", 1.5, 0, 0, 0, 0],
        ["sub-3", "s", -1, 0, 0, 0, 0],
        ["sub-4", "s", "n/a", 1, 0, 0, 0],
        ["sub-5", "s", None, None, None, None, None],  # nothing is said of it
        [None, "s", 1, 0, 0, 0, 0],
        ["sub-6", "s", None, "1.0", None, None, ""],  # an empty cell is none
        ["sub-7", "s", 1, 0, 0, 0, 0],
        ["SUB-7", "s", 0, 0, 0, 0, 3],
        ["sub-8", "s", 1, 0, 0, 0, 0],
        ["sub-8", "t", 1, 0, 0, 0, 0],
        ["mean", None, 0.8, 0.4, 0.1, 0.2, 0.1],
    ]
    sheet = read_sheet(write(tmp_path / "a.xlsx", header=HEADER[:7], rows=rows))
    assert as_dict(sheet) == {"6": [0, 1, 0, 0, 0], "7": [1, 0, 0, 0, 0], "8": [1, 0, 0, 0, 0]}
    assert "counts that are no whole numbers, row passed over: 1, 2, 3, 4, mean" in sheet.notes
    assert "rows that differ, the first one is taken: 7" in sheet.notes


def test_a_column_of_words_is_not_taken_for_counts(tmp_path):
    header = [*HEADER[:6], "Other Lesion Location", "# Lesions Other Location"]
    rows = [[*row[:6], "pons, medulla", row[6]] for row in ROWS]
    assert as_dict(read_sheet(write(tmp_path / "a.csv", header=header, rows=rows))) == COUNTS


@pytest.mark.parametrize("other", ["R001S001", "r001s001", " sub-r001s001 ", "sub-r001s001_ses-1", "SUB_R001S001",
                                   "subject r001s001"])  # fmt: skip
def test_subjects_are_matched_in_any_spelling(other):
    assert subject_key(other) == subject_key("sub-r001s001") == "r001s001"


@pytest.mark.parametrize(("one", "two"), [("sub-007", "7"), ("007", "sub-7"), ("000", "0")])
def test_leading_zeros_that_spreadsheets_drop(one, two):
    assert subject_key(one) == subject_key(two)


@given(st.integers(1, 60), st.integers(1, 90), st.integers(1, 60), st.integers(1, 90))
def test_different_subjects_stay_different(site, number, other_site, other_number):
    one, two = f"sub-r{site:03d}s{number:03d}", f"R{other_site:03d}S{other_number:03d}"
    assert (subject_key(one) == subject_key(two)) == ((site, number) == (other_site, other_number))


def test_match_says_who_is_missing_and_leaves_out_the_ambiguous(tmp_path):
    sheet = read_sheet(write(tmp_path / "a.csv"))
    counts, notes = sheet.match(["sub-r001s002", "sub-r009s001", "sub-r001s001"])
    assert counts.index.tolist() == ["sub-r001s002", "sub-r001s001"]
    assert counts.loc["sub-r001s001"].tolist() == COUNTS["r001s001"]
    assert "2 of 3 subjects have their lesion locations in it" in notes
    assert "not in it, so located approximately: sub-r009s001" in notes
    counts, _ = sheet.match(["sub-r001s002", "R001S002", "sub-r001s003"])
    assert counts.index.tolist() == ["sub-r001s003"]
    counts, notes = sheet.match([f"sub-x{i}" for i in range(9)])
    assert counts.empty
    assert "sub-x4 and 4 more" in notes[-1]


def test_the_sheet_is_found_at_the_root_or_beside_training(tmp_path):
    root = tmp_path / "ATLAS_2"
    (root / "Training").mkdir(parents=True)
    assert find_sheet(root) is None
    (root / "notes.csv").write_text("a,b\n1,2\n")
    (root / "~$20220425_ATLAS_2.0_MetaData.xlsx").write_bytes(b"lock")
    (root / "broken_metadata.xlsx").write_bytes(b"PK\x03\x04 not a workbook")
    (root / "scan.nii.gz").write_bytes(b"x")
    (root / "folder.csv").mkdir()
    write(root / "a_participants.tsv", sep="\t")
    assert find_sheet(root).path.name == "a_participants.tsv"
    write(root / "20220425_ATLAS_2.0_MetaData.xlsx")
    assert find_sheet(root).path.name == "20220425_ATLAS_2.0_MetaData.xlsx"
    assert find_sheet(tmp_path).path.parent == root  # the folder above
    named = write(tmp_path / "mine.csv", rows=ROWS[:1])
    assert find_sheet(root, named).path == named
    assert find_sheet(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xls", b"\xd0\xcf\x11\xe0", "expected one of .xlsx"),
        ("a.xlsx", b"not a workbook", "not a readable sheet"),
        ("a.csv", b"", "no row names a subject column"),
        ("a.csv", b"subject,age\nsub-1,60\n", "no row names a subject column"),
        ("a.csv", b"name,# Lesions LH Subcortical\nsub-1,1\n", "no row names a subject column"),
        ("a.csv", bytes(np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8)), None),
        ("missing.csv", None, "no such file"),
    ],
)
def test_what_is_no_sheet_is_one_line_that_names_it(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_sheet(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError):
        find_sheet(tmp_path, path)


CELLS = st.one_of(
    st.none(), st.integers(-5, 10**6), st.floats(), st.text(max_size=12), st.booleans(), st.dates()
)


@pytest.mark.heavy
@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(CELLS, min_size=7, max_size=7), max_size=6), st.sampled_from(["csv", "xlsx"]))
@example([[None] * 6 + [1.7976931348623155e308]], "xlsx")  # is infinite once it was written with 15 digits
def test_no_cell_makes_a_traceback(tmp_path_factory, rows, kind):
    rows = [[c.replace("\x00", "") if isinstance(c, str) else c for c in row] for row in rows]
    path = tmp_path_factory.mktemp("sheet") / f"any.{kind}"
    try:
        write(path, header=HEADER[:7], rows=rows)
    except Exception:  # openpyxl writes no control characters
        return
    try:
        sheet = read_sheet(path)
    except InputError:
        return
    assert (sheet.counts.to_numpy() >= 0).all()
    assert (sheet.counts.sum(axis=1) > 0).all()
    assert sheet.counts.index.is_unique
