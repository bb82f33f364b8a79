"""deploy/stacks/current.sh says why it cannot do something, and exits 3 then: nothing is skipped in silence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[1]
SCRIPT = TREE / "deploy/stacks/current.sh"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the root is Debian's, for Linux")


@LINUX
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_without_root_it_says_so():
    with SCRIPT.open() as script:  # whoever that is may not be able to read this tree
        done = subprocess.run(
            ["sh", "-s", "tests"],
            stdin=script,
            cwd="/",
            user=65534,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.strip() == "current stack: needs root, for chroot and mounts; run it with sudo"


@LINUX
def test_another_system_is_told_what_is_needed(tmp_path):
    (tmp_path / "uname").write_text("#!/bin/sh\necho Darwin arm64\n")
    (tmp_path / "uname").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([SCRIPT, "tests"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "needs Linux on x86-64; this is Darwin arm64" in done.stderr


def test_an_unknown_stack_is_refused_before_anything_is_set_up(tmp_path):
    environment = os.environ | {"VENV": str(tmp_path / "venv")}
    for given in (["--stack"], ["--stack", "older"]):
        done = subprocess.run(
            [TREE / "dev", "test", *given], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert "--stack: expected current" in done.stderr
    assert not list(tmp_path.iterdir())
