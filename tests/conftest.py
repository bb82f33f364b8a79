"""What every test needs: quiet libraries, the data beside the tests, and the real tables if they are there."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.tiers import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_xdist_make_scheduler,
)

# pytest calls them
__all__ = [
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_xdist_make_scheduler",
]

# A busy machine is slow, not wrong: no test fails by the clock.
settings.register_profile("raxnet", deadline=None)
settings.load_profile("raxnet")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")
DATA = Path(__file__).resolve().parent / "data"  # its README says what each file is
SHARED = Path(os.environ.get("RAXNET_SHARED", Path(__file__).resolve().parents[2] / "shared"))
# RAX-Net's options: a third of its layers, since making graphs of them is what takes time in a training of a few
# steps. The method's own network is trained by the test of the demo.
SMALLEST = {"encoder_units": 1, "decoder_units": 1, "encoder_shortcuts": False, "residual_attention": False}
SMALLEST_PARAMETERS = 1_461_377
NO_TABLES = "the real lesion tables are absent"


@pytest.fixture(scope="session")
def atlas() -> Path:
    """The folder of the real lesion tables of ATLAS v2.0, which are not part of this repository."""
    folder = SHARED / "atlas"
    if not (folder / "lesions_3d.csv").is_file():
        pytest.skip(
            f"{NO_TABLES}: no lesions_3d.csv in {folder}; set RAXNET_SHARED to the folder that holds atlas/"
        )
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Counts in one line what was not tested for want of the real tables."""
    skipped = [
        report for report in terminalreporter.stats.get("skipped", []) if NO_TABLES in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.write_line(
            f"{len(skipped)} tests skipped because {NO_TABLES} (RAXNET_SHARED; tests/data/README.md)"
        )
