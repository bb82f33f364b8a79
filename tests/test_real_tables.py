"""Without the real lesion tables their tests are skipped, and pytest says how many and what to do about it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(folder, tables):
    """pytest over two tests that ask for the tables, in a process that has our conftest and nothing else of ours."""
    (folder / "test_it.py").write_text(
        "def test_a(atlas): pass\ndef test_b(atlas): pass\ndef test_c(): pass\n"
    )
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-ra",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        str(folder),
    ]
    environment = {**os.environ, "RAXNET_SHARED": str(tables), "COLUMNS": "300"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_skipped_tests_are_counted_with_the_remedy(tmp_path):
    said = run(tmp_path, tmp_path / "none")
    where = tmp_path / "none/atlas"
    assert f"no lesions_3d.csv in {where}; set RAXNET_SHARED to the folder that holds atlas/" in said
    assert "\n2 tests skipped because the real lesion tables are absent" in said
    assert "1 passed, 2 skipped" in said


def test_nothing_is_said_where_the_tables_are(tmp_path):
    (tmp_path / "atlas").mkdir()
    (tmp_path / "atlas/lesions_3d.csv").write_text("")
    said = run(tmp_path, tmp_path)
    assert "3 passed" in said
    assert "tables" not in said
