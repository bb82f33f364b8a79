"""Does a scan lie in MNI space? Reslicing matches grids, it does not register (raxnet.md, 10)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files

import numpy as np
from scipy import ndimage, optimize

from lesions import nifti
from lesions.grid import SPACE, Grid, Volume, resample, template_grid

TEMPLATE = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"  # the brain alone, on the ATLAS grid
WORKING = 4.0  # mm; finer is slower and decides no better
AROUND = (
    5.0  # working voxels: each voxel is judged against so wide a neighborhood, without bias field and scalp
)
EVERY = 3  # of the brain's working voxels one in three is compared
REACH = (40.0, 40.0, 40.0, 40.0, 40.0, 40.0, 15.0)  # mm, degrees, and about 2 % of size per unit
NEAR, FAR = 10.0, 13.0  # mm: 5 mm or 5 degrees measure 3 to 9, 20 mm or 20 degrees 15 and more (phantom)
ALIKE = 0.48  # least correlation, once moved into place, of something that is a head

INSIDE, UNCERTAIN, OUTSIDE = "in MNI space", "uncertain", "not in MNI space"


@dataclass(frozen=True)
class MniCheck:
    """What `mni_check` found.

    Attributes:
        similarity: Correlation of scan and template brain where the scan lies now, -1 to 1.
        verdict: INSIDE, UNCERTAIN or OUTSIDE.
        message: One line for people: the verdict, how sure, and what to do.
        offset: Distance between the scan's brain and the template's, root mean square over the brain, mm.
        best: The correlation once the scan is moved into place.
    """

    similarity: float
    verdict: str
    message: str
    offset: float
    best: float

    @property
    def flagged(self) -> bool:
        """True where a mask may be wrong for the scan's position."""
        return self.verdict != INSIDE


def mni_check(volume: Volume) -> MniCheck:
    """Measures how far a T1 scan lies from the MNI152 brain, with or without skull.

    The template is moved, turned and scaled over the scan until both correlate best, from where it is. How
    far it had to go is the answer. A correlation alone would depend on lesion, contrast and bias field.

    Args:
        volume: Finite T1 intensities in any orientation and spacing.

    Returns:
        Similarity, verdict and message. Left-right flips are not seen: heads are symmetric.
    """
    scan = _working_copy(volume)
    template = _template()
    to_voxels = np.linalg.inv(scan.grid.matrix)

    def similarity(parameters: np.ndarray) -> float:
        matrix = to_voxels @ _matrix(parameters, template.center)
        places = template.points @ matrix[:3, :3].T + matrix[:3, 3]
        values = ndimage.map_coordinates(scan.data, places.T, order=1, mode="constant")
        spread = values.std()
        return float(((values - values.mean()) * template.values).mean() / spread) if spread > 0 else 0.0

    start = np.zeros(len(REACH))
    found = optimize.minimize(
        lambda parameters: -similarity(parameters),
        start,
        method="Powell",
        bounds=[(-reach, reach) for reach in REACH],
        options={"xtol": 0.3, "ftol": 1e-3, "maxiter": 4},
    )
    moved = _matrix(found.x, template.center)
    shifts = template.points @ moved[:3, :3].T + moved[:3, 3] - template.points
    return _judge(similarity(start), -float(found.fun), float(np.sqrt((shifts**2).sum(axis=1).mean())))


def _judge(similarity: float, best: float, offset: float) -> MniCheck:
    how = f"similarity {similarity:.2f}, brain about {offset:.0f} mm from the template's"
    if best >= ALIKE and offset <= NEAR:
        return MniCheck(similarity, INSIDE, f"the scan lies in MNI space ({how})", offset, best)
    if best < ALIKE:
        how = f"similarity {similarity:.2f}, at best {best:.2f} when moved; or it is no T1 scan of a head"
    verdict, sure = (UNCERTAIN, "may not be") if offset <= FAR else (OUTSIDE, "is not")
    remedy = f"the mask may be wrong; register the scan to {SPACE} first"
    return MniCheck(similarity, verdict, f"the scan {sure} in MNI space ({how}): {remedy}", offset, best)


def _working_copy(volume: Volume) -> Volume:
    """The scan along its own axes at the working spacing, its brightest tissue (fat) capped, evened out."""
    zoom = WORKING / np.array(volume.grid.spacing)
    shape = tuple(int(n) for n in np.maximum(np.ceil(np.array(volume.grid.shape) / zoom), 2))
    matrix = volume.grid.matrix @ np.diag([*zoom, 1.0])
    matrix[:3, 3] += volume.grid.matrix[:3, :3] @ ((zoom - 1) / 2)
    coarse = resample(volume, Grid.of(shape, matrix))
    data = coarse.data - coarse.data.min()
    tissue = data[data > data.mean() / 2]
    if tissue.size:
        data = np.minimum(data, np.percentile(tissue, 80))
    return Volume(_even(data), coarse.grid)


def _even(data: np.ndarray) -> np.ndarray:
    """Each voxel against mean and spread of its neighborhood, smoothed: what is left is anatomy."""
    above = data - ndimage.gaussian_filter(data, AROUND)
    spread = np.sqrt(ndimage.gaussian_filter(above**2, AROUND))
    return ndimage.gaussian_filter(above / (spread + 0.1 * spread.max() + 1e-6), 1.0)


def _matrix(parameters: np.ndarray, center: np.ndarray) -> np.ndarray:
    """(4, 4) of shifts (mm), turns about the three axes (degrees) and size, about the brain's center."""
    matrix = np.eye(4)
    for axis, angle in enumerate(np.deg2rad(parameters[3:6])):
        turn = np.eye(4)
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn[[first, second], [first, second]] = np.cos(angle)
        turn[second, first], turn[first, second] = np.sin(angle), -np.sin(angle)
        matrix = turn @ matrix
    matrix[:3, :3] *= np.exp(parameters[6] / 50.0)
    matrix[:3, 3] = parameters[:3] + center - matrix[:3, :3] @ center
    return matrix


@dataclass(frozen=True, eq=False)
class _Template:
    points: np.ndarray  # (n, 3) mm, in the brain
    values: np.ndarray  # (n,) evened intensities there, mean 0, standard deviation 1
    center: np.ndarray  # (3,) mm, of the brain


@lru_cache(maxsize=1)
def _template() -> _Template:
    with as_file(files("nilearn.datasets.data") / TEMPLATE) as path:
        coarse = resample(nifti.read(path), template_grid(WORKING))
    voxels = np.argwhere(coarse.data > 0.1 * coarse.data.max())[::EVERY]
    values = _even(coarse.data)[tuple(voxels.T)]
    points = voxels @ coarse.grid.matrix[:3, :3].T + coarse.grid.matrix[:3, 3]
    return _Template(points, (values - values.mean()) / values.std(), points.mean(axis=0))
