"""TensorFlow's start-up messages are kept from a person, whichever stack; what a module raises is not."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.heavy

LOUD = "import os; os.write(2, b'chatter\\n')\n"


def stderr_of(code, folder=None, **environment):
    known = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"} | environment
    if folder is not None:
        known["PYTHONPATH"] = str(folder)
    done = subprocess.run(
        [sys.executable, "-c", code], env=known, capture_output=True, text=True, check=False
    )
    return done.stderr


QUIET = "from lesions.stack import quiet_import; quiet_import()\n"
SAY = "import tensorflow; print('ours', file=__import__('sys').stderr)"


def test_the_real_tensorflow_is_silent_and_we_are_not():
    assert stderr_of(QUIET + SAY) == "ours\n"


def test_a_level_of_zero_shows_everything(tmp_path):
    (tmp_path / "tensorflow.py").write_text(LOUD)
    assert stderr_of(QUIET + SAY, tmp_path) == "ours\n"
    assert stderr_of(QUIET + SAY, tmp_path, TF_CPP_MIN_LOG_LEVEL="0") == "chatter\nours\n"
    assert stderr_of(SAY, tmp_path) == "chatter\nours\n"


def test_what_fails_is_told_and_tried_again(tmp_path):
    (tmp_path / "tensorflow.py").write_text(LOUD + "raise ImportError('no such library')\n")
    told = stderr_of(QUIET + "import tensorflow", tmp_path)
    assert told.strip().endswith("ImportError: no such library")
    assert "chatter" not in told
    again = QUIET + "try:\n    import tensorflow\nexcept ImportError:\n    pass\nimport tensorflow"
    assert "chatter" in stderr_of(again, tmp_path)


def test_submodules_are_found_as_ever(tmp_path):
    package = tmp_path / "tensorflow"
    package.mkdir()
    (package / "__init__.py").write_text(LOUD)
    (package / "part.py").write_text(
        "import tensorflow, importlib.resources as r\nHERE = r.files(tensorflow)\n"
    )
    code = QUIET + "from tensorflow import part; print(part.HERE.name, file=__import__('sys').stderr)"
    assert stderr_of(code, tmp_path) == "tensorflow\n"


def test_a_process_that_dies_meanwhile_says_where(tmp_path):
    (tmp_path / "tensorflow.py").write_text(LOUD + "os.abort()\n")
    told = stderr_of(QUIET + SAY, tmp_path)
    assert "Fatal Python error: Aborted" in told
    assert "tensorflow.py" in told
    assert "chatter" not in told
