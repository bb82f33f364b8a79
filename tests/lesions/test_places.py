import pandas as pd
import pytest

from lesions.places import PLACES, SHEET_PLACES, approximate, with_sheet


def row(subject, lesion, hemisphere, location, share=1.0):
    return (subject, lesion, 100 // lesion, hemisphere, location, share, 1.0, 2.0, 3.0)


@pytest.fixture
def found():
    names = ["subject", "lesion", "voxels", "hemisphere", "location", "share", "x", "y", "z"]
    rows = [
        row("sub-1", 1, "left", "cortical"),
        row("sub-1", 2, "right", "subcortical"),
        row("sub-1", 3, "left", "cortical"),
        row("sub-2", 1, "right", "other"),
        row("sub-3", 1, "left", "unknown"),
        row("sub-4", 1, "left", "subcortical"),
    ]
    return approximate(pd.DataFrame(rows, columns=names))


def counts(**subjects):
    return pd.DataFrame.from_dict(subjects, orient="index", columns=list(SHEET_PLACES))


def test_subjects_count_their_lesions_by_place(found):
    subjects = found.subjects.set_index("subject")
    assert list(subjects.columns) == [*PLACES, "source"]
    assert subjects.loc["sub-1", list(PLACES)].tolist() == [2, 0, 0, 1, 0, 0]
    assert subjects.loc["sub-2", "other"] == subjects.loc["sub-3", "unknown"] == 1
    assert set(subjects["source"]) == set(found.lesions["source"]) == {"approximate"}
    assert subjects[list(PLACES)].to_numpy().sum() == len(found.lesions)


def test_the_summary_says_share_n_and_source(found):
    summary = found.summary().set_index("place")
    assert list(summary.index) == list(PLACES)
    assert summary["lesions"].tolist() == [2, 1, 0, 1, 1, 1]
    assert summary["lesions_percent"].tolist() == [33.33, 16.67, 0, 16.67, 16.67, 16.67]
    assert summary["subjects"].tolist() == [1, 1, 0, 1, 1, 1]
    assert set(summary["of_lesions"]) == {6}
    assert set(summary["of_subjects"]) == {4}
    assert summary["subjects_percent"].iloc[0] == 25


def test_the_sheet_overrules_anatomy_for_its_own_subjects(found):
    sheet = counts(**{"sub-1": [1, 2, 0, 0, 0], "sub-2": [0, 0, 3, 0, 0], "sub-9": [1, 0, 0, 0, 0]})
    told = with_sheet(found, sheet)
    subjects = told.subjects.set_index("subject")
    assert list(subjects.index) == ["sub-1", "sub-2", "sub-3", "sub-4"]
    assert subjects.loc["sub-1", list(PLACES)].tolist() == [1, 2, 0, 0, 0, 0]
    assert subjects["source"].tolist() == ["metadata", "metadata", "approximate", "approximate"]
    lesions = told.lesions.set_index(["subject", "lesion"])
    # One place alone in the sheet: the lesion takes it. Two: nobody can say which is which.
    assert lesions.loc[("sub-2", 1), ["hemisphere", "location", "source"]].tolist() == [
        "right", "cortical", "metadata"
    ]  # fmt: skip
    assert set(lesions.loc["sub-1", "source"]) == {"approximate"}
    assert lesions.loc[("sub-1", 2), "location"] == "subcortical"
    summary = told.summary()
    totals = summary.groupby("source", sort=False)[["of_lesions", "of_subjects"]].first()
    assert totals.to_dict("index") == {
        "metadata": {"of_lesions": 6, "of_subjects": 2},
        "approximate": {"of_lesions": 2, "of_subjects": 2},
    }
    # What was found is unchanged.
    assert set(found.subjects["source"]) == {"approximate"}


def test_other_in_the_sheet_keeps_the_side_that_was_measured(found):
    told = with_sheet(found, counts(**{"sub-4": [0, 0, 0, 0, 1]}))
    lesion = told.lesions.set_index("subject").loc["sub-4"]
    assert lesion[["hemisphere", "location", "source"]].tolist() == ["left", "other", "metadata"]


def test_a_sheet_may_know_everybody_or_nobody(found):
    nobody = with_sheet(found, counts(**{"sub-9": [1, 0, 0, 0, 0]}))
    pd.testing.assert_frame_equal(nobody.lesions, found.lesions)
    pd.testing.assert_frame_equal(nobody.subjects, found.subjects)
    everybody = with_sheet(found, counts(**{f"sub-{i}": [1, 0, 0, 0, 0] for i in range(1, 5)}))
    assert set(everybody.summary()["source"]) == {"metadata"}
    assert set(everybody.lesions["location"]) == {"cortical"}
    assert set(everybody.lesions["hemisphere"]) == {"left"}
