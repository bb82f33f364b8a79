"""Where a lesion lies, approximately: hemisphere, and cortical, subcortical or other, from the MNI152 tissue maps.

The rule. The template's brain is parted into three regions, at 2 mm:

* other: cerebellum and brainstem. Behind y = -36 mm, what lies below a surface that follows the tentorium; in
  front of it, the midbrain, pons and medulla by their coordinates.
* subcortical: the grey matter of the basal ganglia and the thalamus, with the capsules between and around them.
  Grey matter (map above one half) of a box about these nuclei is theirs where it lies deeper than 6 mm below the
  brain's lateral surface: the fluid of the Sylvian fissure. That tells the putamen from the insula.
* cortical: the cortex, which is all other grey matter, and the white matter of the lobes. White matter (and fluid)
  belongs to the nearer of cortex and deep nuclei.

A lesion lies where most of its voxels lie. These are the classes of ATLAS's metadata sheet ("Cortical and White
Matter", "Subcortical", "Other Location"). Limits: docs/statistics.md.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import ndimage

from lesions.components import Components
from lesions.grid import Grid, Volume, template_grid
from lesions.template import read_template

LOCATIONS = ("unknown", "cortical", "subcortical", "other")  # by region number; unknown: off the template
_UNKNOWN, _CORTICAL, _SUBCORTICAL, _OTHER = range(4)
COLUMNS = ("lesion", "voxels", "hemisphere", "location", "share", "x", "y", "z")
_STEP = 2  # mm
_DEPTH = 6.0  # mm below the Sylvian fissure's fluid; 6 to 10 give the same for all nuclei and insular places tested


def locate(lesions: Components, grid: Grid) -> pd.DataFrame:
    """Hemisphere and location of every lesion of a mask, by the rule above.

    Args:
        lesions: Of a mask in RAS order.
        grid: Its grid, in MNI space.

    Returns:
        A row per lesion, largest first: lesion (rank, from 1), voxels, hemisphere ("left" or "right", where more
        of it lies; left on a tie), location (of `LOCATIONS`), share (of its voxels that lie there), and x, y, z
        (center of mass, mm).
    """
    where = np.nonzero(lesions.labels)
    rank = lesions.labels[where]
    voxels = np.stack(where, axis=1) + lesions.start
    places = voxels @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]
    count = len(lesions.sizes)

    def per_lesion(weights: np.ndarray) -> np.ndarray:
        return np.bincount(rank, weights, minlength=count + 1)[1:]

    region = region_at(places)
    votes = np.stack([per_lesion(region == r) for r in range(len(LOCATIONS))], axis=1)
    winner = votes.argmax(axis=1)
    left, right = per_lesion(places[:, 0] < -1e-3), per_lesion(places[:, 0] > 1e-3)
    frame = pd.DataFrame(
        {
            "lesion": np.arange(1, count + 1),
            "voxels": lesions.sizes.astype(np.int64),
            "hemisphere": np.where(right > left, "right", "left"),
            "location": np.array(LOCATIONS, dtype=object)[winner],
            "share": (votes[np.arange(count), winner] / lesions.sizes).round(3),
        }
    )
    for axis, name in enumerate("xyz"):
        frame[name] = (per_lesion(places[:, axis]) / lesions.sizes).round(1) + 0.0  # no -0.0
    return frame


def region_at(places: np.ndarray) -> np.ndarray:
    """Region numbers, as in `LOCATIONS`, of MNI coordinates, (n, 3) mm; 0 outside the template's box."""
    regions = load_regions()
    voxels = np.rint((places - regions.grid.matrix[:3, 3]) / _STEP).astype(np.int64)
    inside = ((voxels >= 0) & (voxels < regions.grid.shape)).all(axis=1)
    found = np.zeros(len(places), dtype=np.uint8)
    found[inside] = regions.data[tuple(voxels[inside].T)]
    return found


@lru_cache(maxsize=1)
def load_regions() -> Volume:
    """The three regions on the template's grid at 2 mm, uint8; built once per process, in about a second."""
    grid = template_grid(_STEP)
    grey, white = (read_template(kind).data[::_STEP, ::_STEP, ::_STEP] / 255.0 for kind in ("gm", "wm"))
    x, y, z = np.meshgrid(
        *(grid.affine[axis][3] + _STEP * np.arange(n) for axis, n in enumerate(grid.shape)),
        indexing="ij",
        sparse=True,
    )
    lateral = np.abs(x)
    other = _infratentorial(lateral, y, z)
    nuclei = (lateral <= 32) & (y >= -36) & (y <= 22) & (z >= -10) & (z <= 24)
    fluid = (grey + white < 0.5) & (lateral > 24)
    depth = ndimage.distance_transform_edt(~fluid, sampling=_STEP)
    seeds = np.where(grey > 0.5, _CORTICAL, _UNKNOWN).astype(np.uint8)
    seeds[nuclei & (grey > 0.5)] = _SUBCORTICAL
    seeds[nuclei & (depth <= _DEPTH) & (grey > 0.5)] = _CORTICAL
    seeds[other] = _UNKNOWN
    nearest = ndimage.distance_transform_edt(seeds == _UNKNOWN, return_distances=False, return_indices=True)
    regions = seeds[tuple(nearest)]
    regions[other] = _OTHER
    return Volume(regions, grid)


def _infratentorial(lateral: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Cerebellum and brainstem by MNI coordinates, mm; `lateral` is the distance from the midline.

    The tentorium falls from the midline to the sides, and behind y = -72 lies at -16 or lower. Overlaps by 0.95
    (Dice) with the template's own cerebellum and brainstem below z = -8.
    """
    tentorium = np.maximum(-0.7 * lateral, -24.0)
    tentorium = np.where(y < -72, np.minimum(tentorium, -16.0), tentorium)
    cerebellum = (y < -36) & (z < tentorium)
    brainstem = (y >= -36) & (y < -8) & (z < -8) & (lateral < np.where(z < -24, 20.0, 14.0))
    return np.asarray(cerebellum | brainstem)
