"""What every test needs: quiet libraries, and the folder of facts where it is there."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.tiers import pytest_addoption, pytest_collection_modifyitems, pytest_configure

__all__ = ["pytest_addoption", "pytest_collection_modifyitems", "pytest_configure"]  # pytest calls them

# A busy machine is slow, not wrong: no test fails by the clock.
settings.register_profile("raxnet", deadline=None)
settings.load_profile("raxnet")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")
SHARED = Path(os.environ.get("RAXNET_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    if not (SHARED / "atlas" / "lesions_3d.csv").is_file():
        pytest.skip(f"{SHARED} has no real lesion tables; set RAXNET_SHARED to the folder that has atlas/")
    return SHARED
