"""Small files are written whole or not at all; folders and disks are judged before long work."""

import shutil

import numpy as np
import pandas as pd
import pytest

from lesions.errors import InputError
from lesions.files import read_table, require_space, require_writable, write_table, write_text


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write_text(path, "one\n")
    write_text(path, "two\n")
    assert path.read_bytes() == b"two\n"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    for refuse in (lambda p: write_text(p / "x", ""), require_writable):
        with pytest.raises(InputError, match="cannot be written"):
            refuse(tmp_path / "file" / "below")


def test_space_is_judged_for_a_folder_that_is_not_there_yet(tmp_path):
    folder = tmp_path / "not" / "there"
    free = shutil.disk_usage(tmp_path).free
    require_space(folder, free // 2, "free some")
    with pytest.raises(InputError, match=r"not/there: needs about .* GB, found .* GB free; free some"):
        require_space(folder, free * 2, "free some")
    assert not folder.exists()
    assert not folder.parent.exists()


@pytest.fixture
def frame():
    return pd.DataFrame(
        {"subject": ["007", "NA", "sub-a, b"], "tp": [1, 0, 2**40], "dice": [0.1 + 0.2, np.nan, 1 / 3]}
    )


def test_both_forms_of_a_table_read_the_same(frame, tmp_path):
    write_table(tmp_path / "new" / "scores", frame)
    for ending in ("csv", "parquet"):
        pd.testing.assert_frame_equal(
            read_table(tmp_path / "new" / f"scores.{ending}", ["subject"]), frame, check_exact=True
        )
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["scores.csv", "scores.parquet"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_that_cannot_be_read(frame, tmp_path, ending):
    path = tmp_path / f"scores.{ending}"
    with pytest.raises(InputError, match="no such table"):
        read_table(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=f"{path}: not a readable table"):
        read_table(path)
    path.write_bytes(b"PAR1\xff\xfe\x00garbage")
    with pytest.raises(InputError, match=f"{path}: "):
        read_table(path, ["subject"])
    write_table(tmp_path / "scores", frame)
    with pytest.raises(InputError, match="column fp is missing; expected subject, fp"):
        read_table(path, ["subject", "fp"])
    with pytest.raises(InputError, match="not a readable table"):
        read_table(tmp_path)
