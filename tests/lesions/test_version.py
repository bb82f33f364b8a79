import subprocess
from importlib import metadata

import pytest

from lesions.version import DISTRIBUTION, code_version

pytestmark = pytest.mark.heavy

VERSION = metadata.version(DISTRIBUTION)


def git(folder, *arguments):
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    done = subprocess.run(
        ["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "module.py").write_text("1\n")
    (tmp_path / ".gitignore").write_text("installed\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_a_checkout_says_its_commit_and_whether_it_was_changed(checkout):
    commit = git(checkout, "rev-parse", "HEAD")
    assert code_version(checkout / "code") == f"{VERSION}, commit {commit}"
    (checkout / "code" / "module.py").write_text("2\n")
    assert (
        code_version(checkout / "code") == f"{VERSION}, commit {commit}, with changes that are not committed"
    )


def test_code_installed_inside_a_checkout_of_something_else_does_not_take_its_commit(checkout):
    (checkout / "installed").mkdir()
    (checkout / "installed" / "module.py").write_text("1\n")
    assert code_version(checkout / "installed") == VERSION


def test_without_a_checkout_or_git_there_is_the_version_alone(tmp_path, monkeypatch):
    assert code_version(tmp_path) == VERSION
    monkeypatch.setenv("PATH", "")
    assert code_version() == VERSION
