"""A root belongs to the stack that made it; another is told so."""

import json
import platform
from importlib import metadata

import pytest

from lesions.errors import InputError
from pipeline import root_stack

OTHER = {"tfx": "1.99.0", "tensorflow": "2.99.0", "keras": "3.99.0", "python": "3.99.1"}


def write(root, stack):
    root.mkdir(exist_ok=True)
    (root / root_stack.NAME).write_text(json.dumps(stack) if isinstance(stack, dict) else stack)


def test_a_root_is_claimed_once_and_stays_ours(tmp_path):
    root_stack.check(tmp_path)
    assert not list(tmp_path.iterdir())
    root_stack.claim(tmp_path)
    noted = (tmp_path / root_stack.NAME).read_bytes()
    assert json.loads(noted)["tfx"] == metadata.version("tfx")
    assert json.loads(noted)["python"] == platform.python_version()
    root_stack.claim(tmp_path)
    root_stack.check(tmp_path)
    assert (tmp_path / root_stack.NAME).read_bytes() == noted


def test_a_later_patch_is_the_same_stack_and_a_later_minor_is_not(tmp_path):
    major, minor, *_ = metadata.version("tfx").split(".")
    write(tmp_path, OTHER | {"tfx": f"{major}.{minor}.77"})
    root_stack.claim(tmp_path)
    write(tmp_path, OTHER | {"tfx": f"{major}.{int(minor) + 1}.0"})
    with pytest.raises(InputError, match="run it where it was made, or set another root"):
        root_stack.claim(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "1", '{"tfx": "1.16.0"}', '{"python": "3.10"}'])
def test_a_note_that_says_nothing_is_refused(tmp_path, content):
    write(tmp_path, content)
    with pytest.raises(InputError, match=r"stack\.json: must say which stack"):
        root_stack.claim(tmp_path)
