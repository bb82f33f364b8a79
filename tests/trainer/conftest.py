"""Records of a small made-up cohort."""

import numpy as np
import pytest

from lesions.grid import Grid, Volume
from lesions.ingest import slices_of
from trainer import job, records

GRID = Grid.of((20, 26, 18), np.diag([6.0, 6.0, 6.0, 1.0]))
SUBJECTS = {"sub-a": 1, "sub-b": 1, "sub-c": 2, "sub-d": 2, "sub-e": 3, "sub-f": 3}


def make_subject(seed: int) -> tuple[Volume, np.ndarray]:
    """A bright noisy box with a dark ball in it, which is the lesion."""
    rng = np.random.default_rng(seed)
    data = np.zeros(GRID.shape, np.float32)
    data[3:-3, 3:-3, 2:-2] = 600 + 60 * rng.standard_normal((14, 20, 14))
    center = rng.integers([6, 7, 6], [14, 19, 12])
    away = np.indices(GRID.shape) - center[:, None, None, None]
    mask = (away**2).sum(axis=0) <= rng.uniform(3, 14)
    data[mask] *= 0.3
    return Volume(data.round(), GRID), mask


@pytest.fixture(scope="session")
def examples(tmp_path_factory):
    """Folder of an Examples artifact of axial slices, folds 1 to 3 of two subjects."""
    folder = tmp_path_factory.mktemp("examples")
    for seed, (subject, fold) in enumerate(SUBJECTS.items()):
        image, mask = make_subject(seed)
        records.write_shard(folder, fold, subject, slices_of(subject, image, mask, "axial"))
    job.Facts("made up", True, "data", "folds", GRID).write(folder)
    return folder
