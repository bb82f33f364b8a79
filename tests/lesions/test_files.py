"""Small files are written whole or not at all; folders and disks are judged before long work."""

import shutil

import pytest

from lesions.errors import InputError
from lesions.files import require_space, require_writable, write_text


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
