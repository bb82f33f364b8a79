"""Records held against the lesion tables: missing, doubled, cut, strange ones are all named."""

import shutil

import numpy as np
import pandas as pd
import pytest

from components import record_counts
from lesions.errors import WorkError
from lesions.slices import Slice
from trainer import records

FOLDS = {"sub-a": 1, "sub-b": 1, "sub-c": 2}
SIDE = 4


def write(examples, subject, fold, numbers):
    pixels = bytes(SIDE * SIDE)
    made = [Slice(subject, "axial", n, SIDE, SIDE, 2 * pixels, pixels, 0, 0) for n in numbers]
    records.write_shard(examples, fold, subject, made)


@pytest.fixture
def examples(tmp_path):
    """Slices 2 to 6 of each subject, of nine."""
    for subject, fold in FOLDS.items():
        write(tmp_path, subject, fold, range(2, 7))
    return tmp_path


@pytest.fixture(scope="module")
def table():
    nonzero = np.array([0, 0, 3, 9, 16, 9, 1, 0, 0])
    return pd.concat(pd.DataFrame({"subject": s, "slice": range(9), "nonzero": nonzero}) for s in FOLDS)


def refused(examples, table, *said):
    with pytest.raises(WorkError) as error:
        record_counts.check(examples, FOLDS, table)
    for text in said:
        assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_whole_records_are_counted_by_fold(examples, table):
    assert record_counts.check(examples, FOLDS, table) == {1: 10, 2: 5}


@pytest.mark.parametrize("kind", ["Split-fold_2/sub-c.tfrecord", "index/fold_2/sub-c.npy"])
def test_a_missing_file_names_its_subject(examples, table, kind):
    (examples / kind).unlink()
    refused(examples, table, "3 subjects expected, found 2; missing sub-c", "of another data set none")


def test_a_subject_that_is_in_two_folds(examples, table):
    write(examples, "sub-a", 2, range(2, 7))
    refused(examples, table, "3 subjects expected, found 4; missing none", "in another fold or", "sub-a")


def test_a_subject_that_belongs_to_no_fold(examples, table):
    write(examples, "sub-z", 1, range(2, 7))
    refused(examples, table, "of another data set sub-z")


@pytest.mark.parametrize(
    "numbers", [range(2, 6), [*range(2, 7), *range(2, 7)], [2, 2, 3, 4, 5], range(3, 8), []]
)
def test_other_slices_than_the_tables_have(examples, table, numbers):
    write(examples, "sub-b", 1, numbers)
    refused(
        examples, table, "sub-b.tfrecord: 5 records expected by the lesion tables", f"found {len(numbers)}"
    )


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: 2 * content])
def test_a_shard_of_another_length_than_its_index(examples, table, change):
    shard = records.shard_path(examples, 2, "sub-c")
    content = shard.read_bytes()
    shard.write_bytes(change(content))
    refused(examples, table, f"{len(content)} bytes expected by its index", f"found {len(change(content))}")


def test_many_missing_subjects_make_no_long_line(examples, table):
    shutil.rmtree(examples / "Split-fold_1")
    many = FOLDS | {f"sub-{number}": 1 for number in range(20)}
    with pytest.raises(WorkError, match=r"23 subjects expected, found 1; missing .*, \.\.\."):
        record_counts.check(examples, many, table)
