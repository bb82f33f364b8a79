"""Tiers of tests: what `./dev quick` leaves out, and how workers share the rest (docs/testing.md)."""

import multiprocessing.process
import sys

import pytest
from xdist.scheduler import LoadScopeScheduling

HEAVY_MARKS = ("heavy", "slow", "stacks")
LONGEST = ("tests/e2e", "tests/deploy", "tests/trainer", "tests/serving")
TOGETHER = (  # they share a run, a Docker engine and its ports, a Flink cluster
    ("tests/e2e/test_pipeline", "tests/e2e/test_kubeflow.py"),
    tuple(f"tests/deploy/test_{name}.py" for name in ("containers", "compose", "rux", "pipeline_image")),
    ("tests/deploy/flink/",),
)
LIBRARIES = {
    "apache_beam",
    "jax",
    "keras",
    "kfp",
    "tensorflow",
    "tensorflow_data_validation",
    "tf_keras",
    "tfx",
}
PROCESSES = {"os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"}


def pytest_addoption(parser):
    parser.addoption(
        "--quick",
        action="store_true",
        help="leave out every test that starts a process or imports TensorFlow",
    )


def pytest_configure(config):
    if config.getoption("quick"):
        config.pluginmanager.register(Quick())


def pytest_collection_modifyitems(config, items):
    """The longest first, so that no worker of pytest-xdist is left alone with them at the end."""
    names = {item: str(item.path.relative_to(config.rootpath)) for item in items}
    items.sort(key=lambda item: [names[item].startswith(folder) for folder in LONGEST], reverse=True)


class Sharing(LoadScopeScheduling):
    """Gives all tests of a file, or of files that are TOGETHER, to one worker: their fixtures are made once."""

    def _split_scope(self, nodeid):
        file = nodeid.partition("::")[0]
        return next((files[0] for files in TOGETHER if file.startswith(files)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return Sharing(config, log)


class Quick:
    """The quick tier: leaves tests out, and fails one that starts a process or imports TensorFlow all the same."""

    def __init__(self):
        """Watches what Python tells its audit hooks, and `multiprocessing`, which tells them nothing."""
        self.running = False
        start = multiprocessing.process.BaseProcess.start
        multiprocessing.process.BaseProcess.start = lambda process: self.refuse("a process") or start(process)
        sys.addaudithook(self.audit)

    def pytest_collection_modifyitems(self, config, items):
        heavy = [item for item in items if any(map(item.get_closest_marker, HEAVY_MARKS))]
        items[:] = [item for item in items if item not in heavy]
        config.hook.pytest_deselected(items=heavy)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self):
        self.running = True
        yield
        self.running = False

    def audit(self, event, arguments):
        if event in PROCESSES:
            self.refuse(f"the process {arguments[0] if arguments else ''}")
        if event == "import" and arguments[0].partition(".")[0] in LIBRARIES:
            self.refuse(f"the import of {arguments[0]}")

    def refuse(self, what):
        if self.running:
            pytest.fail(f"{what}: not in a quick test; mark it `heavy`, or do without (docs/testing.md)")
