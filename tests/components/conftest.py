"""Made-up validation counts, and as much of TFX's artifacts as a component's function needs."""

import numpy as np
import pandas as pd
import pytest

from lesions.slices import PLANES
from lesions.statistics import size_category


class Artifact:
    """An artifact's folder and custom properties."""

    def __init__(self, uri):
        self.uri, self.properties = str(uri), {}

    def set_int_custom_property(self, key, value):
        self.properties[key] = value

    def get_int_custom_property(self, key):
        return self.properties[key]


def make_counts(fold=1, plane="axial", skill=0.7, subjects=5, seed=0):
    """Counts of every slice of some subjects: a third of the slices has lesion, found as far as the skill goes."""
    truth, rng = (np.random.default_rng([seed, fold, PLANES.index(plane), kind]) for kind in (0, 1))
    rows = []
    for subject in range(subjects):
        for number in range(40):
            size = int(truth.integers(1, 4000)) if 10 <= number < 23 else 0
            hit = min(size, rng.binomial(size, skill)) if size else 0
            false = int(rng.integers(0, 1 + int(300 * (1 - skill)))) if number % 2 else 0
            rows.append((f"sub-{fold}{subject}", number, size, hit, false, size - hit))
    table = pd.DataFrame(rows, columns=["subject", "slice", "lesion_voxels", "tp", "fp", "fn"])
    table.insert(3, "size_category", size_category(table["lesion_voxels"].to_numpy(), plane, None))
    return table


@pytest.fixture
def artifact():
    return Artifact


@pytest.fixture
def counts():
    return make_counts


@pytest.fixture(scope="session")
def small_page(tmp_path_factory):
    """report.html of a small run: the root of the run and the page."""
    from tests.components.small_run import SmallRun

    root = tmp_path_factory.mktemp("small_run")
    return root, SmallRun(root).write_page()
