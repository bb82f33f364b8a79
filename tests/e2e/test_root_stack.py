"""A root of another stack: one line, before TFX sees anything of it."""

from importlib import metadata

import pytest

from tests.e2e.conftest import raxnet, write_config
from tests.pipeline.test_root_stack import OTHER, write


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", [["run"], ["train", "--plane", "axial", "--fold", 1]])
def test_the_command_on_another_stack_s_root_does_nothing(phantom, tmp_path, command):
    root = tmp_path / "root"
    config = write_config(tmp_path / "run.yaml", phantom, root)
    write(root, OTHER)
    (root / "metadata.db").write_bytes(b"not to be touched")
    before = files(root)
    done = raxnet(command[0], config, *command[1:])
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 2
    assert (
        f"{root}: belongs to TFX 1.99.0 on Python 3.99.1, and this is TFX {metadata.version('tfx')} on"
        in line
    )
    assert {path: content for path, content in files(root).items() if path.name != "run.lock"} == before


def test_nor_is_a_page_written_of_it(tmp_path):
    write(tmp_path, OTHER)
    (tmp_path / "metadata.db").write_bytes(b"not to be touched")
    done = raxnet("report", tmp_path, tmp_path / "page.html")
    assert done.returncode == 2
    assert "belongs to TFX 1.99.0" in done.stderr
    assert not (tmp_path / "page.html").exists()
