import numpy as np
import pandas as pd
import pytest

from reports.tables import duration, facts, number, table, text_table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (pd.NA, "-"),
        (True, "yes"),
        (np.bool_(False), "no"),
        (12345, "12,345"),
        (np.int64(7), "7"),
        (0.61249, "0.612"),
        (np.float32(0.5), "0.500"),
        (6489.6, "6,490"),
        (0.0, "0.000"),
        (0.0001, "<0.001"),
        (-0.0001, ">-0.001"),
        (float("inf"), "infinite"),
        ("text", "text"),
    ],
)
def test_numbers_as_a_reader_wants_them(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(8.24, "8.2 s"), (252, "4 min 12 s"), (119.7, "2 min 00 s"), (11100, "3 h 05 min"), (float("nan"), "-")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_columns_are_labeled_aligned_and_cut_with_a_word():
    frame = pd.DataFrame({"plane": ["axial", "coronal"], "dice": [0.5, np.nan], "passed": [True, False]})
    made = table(frame, "C", {"dice": 1}, "Note.", most=1)
    assert made.columns == ("Plane", "Dice", "Result")
    assert made.rows == (("axial", "0.5", "yes"),)
    assert made.right == (False, True, False)
    assert made.note == "Note. The first 1 of 2 rows."
    assert len(table(frame, "C").rows) == 2
    assert table(pd.DataFrame(), "C").rows == ()


def test_facts_are_flat():
    made = facts({"a": 1, "b": {"x": 0.25, "y": [1, 2]}}, "F")
    assert made.rows == (("a", "1"), ("b", "x: 0.250, y: 1, 2"))


def test_the_terminal_table_is_aligned():
    frame = pd.DataFrame({"prediction": ["axial", "fused"], "n": [12, 1200], "dice": [0.5, np.nan]})
    assert text_table(frame).split("\n") == [
        "Prediction      n   Dice",
        "----------  -----  -----",
        "axial          12  0.500",
        "fused       1,200      -",
    ]
