"""What the records will take on the disk is known before they are written."""

import numpy as np
import pytest

from lesions.grid import Grid, Volume
from lesions.ingest import projected_bytes, slices_of
from lesions.slices import PLANES
from trainer import records


@pytest.mark.parametrize("shape", [(20, 30, 25), (66, 78, 63)])
def test_projection_is_an_upper_bound_and_a_close_one(tmp_path, shape):
    rng = np.random.default_rng(0)
    grid = Grid.of(shape, np.eye(4))
    image = Volume(rng.uniform(1, 100, shape).astype(np.float32), grid)  # no slice is background
    mask = rng.random(shape) > 0.9
    for subject in ("sub-r001s001", "sub-r001s002"):
        for plane in PLANES:
            records.write_shard(tmp_path / plane, 1, subject, slices_of(subject, image, mask, plane))
    written = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert written <= projected_bytes(grid, 2) <= 1.1 * written
