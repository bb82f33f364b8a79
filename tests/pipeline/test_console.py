"""A person sees our lines; everybody else's go to the log file, even those of C libraries and child processes."""

import io
import logging
import subprocess
import sys

from lesions.progress import LOGGER, to_log
from pipeline import console

CODE = """
import logging, os, subprocess, sys
from pathlib import Path
from lesions.progress import LOGGER
from pipeline import console
with console.logged(Path(sys.argv[1])):
    logging.getLogger(LOGGER).info("ours")
    logging.getLogger(LOGGER).warning("careful")
    logging.getLogger("absl").info("theirs")
    print("to standard error", file=sys.stderr)
    os.write(2, b"from a C library\\n")
    subprocess.run([sys.executable, "-c", "import sys; print('child', file=sys.stderr)"], check=True)
print("afterwards", file=sys.stderr)
"""


def test_only_our_lines_reach_the_terminal_and_all_reach_the_file(tmp_path):
    log = tmp_path / "run.log"
    done = subprocess.run([sys.executable, "-c", CODE, log], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["  ours", "! careful", "afterwards"]
    kept = log.read_text()
    for text in ("ours", "careful", "theirs", "to standard error", "from a C library", "child"):
        assert text in kept


def test_what_was_before_is_restored_after_an_error(tmp_path):
    root, ours = logging.getLogger(), logging.getLogger(LOGGER)
    before = root.handlers[:], ours.handlers[:], root.level
    try:
        with console.logged(tmp_path / "run.log"):
            raise KeyError
    except KeyError:
        pass
    assert (root.handlers, ours.handlers, root.level) == before


class Terminal(io.StringIO):
    def isatty(self):
        return True


def progressed(stream, total=4):
    logger = logging.getLogger(LOGGER)
    before = logger.handlers, logger.level
    logger.handlers = [console.ConsoleHandler(stream)]
    logger.setLevel(logging.INFO)
    try:
        progress = to_log("reading")
        for done in range(1, total + 1):
            progress(done, total)
        logger.info("done")
    finally:
        logger.handlers = before[0]
        logger.setLevel(before[1])
    return stream.getvalue()


def test_progress_is_a_bar_on_a_terminal():
    shown = progressed(Terminal())
    assert shown.count("\r") == 4
    assert "reading" in shown
    assert "4/4" in shown
    assert shown.endswith("\n  done\n")


def test_progress_is_quiet_where_nobody_watches(monkeypatch):
    assert progressed(io.StringIO()) == "  done\n"
    monkeypatch.setattr(console, "QUIET_SECONDS", -1.0)
    assert progressed(io.StringIO()).splitlines()[1] == "  reading: 2 of 4"
