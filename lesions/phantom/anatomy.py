"""A head per subject: the MNI152 template, warped, with its own ventricles, sulci and outer head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from lesions.grid import ATLAS_ORIGIN, Grid, Volume, resample, template_grid
from lesions.phantom.fields import smooth_field
from lesions.template import read_template

# Values of the template's own T1 at which its tissues lie (medians where a tissue map is above 0.9).
TEMPLATE_CSF, TEMPLATE_GREY, TEMPLATE_WHITE = 62.0, 165.0, 224.0
_FULL_WIDTH = float(np.sqrt(8.0 * np.log(2.0)))  # full width at half maximum of a Gaussian, in its sigmas


@dataclass(frozen=True, eq=False)
class Template:
    """Maps on the 1 mm ATLAS grid, smoothed to a wanted voxel size; float32.

    Attributes:
        t1: Template T1, with cerebrospinal fluid around the brain instead of zeros.
        grey: Grey-matter probability.
        white: White-matter probability.
        ventricles: Ventricle probability.
        depth: Distance from the brain's outer hull, mm; negative inside.
        pull: (3, X, Y, Z) unit-scaled directions toward the ventricles, on `grid`.
        grid: The wanted grid.
    """

    t1: np.ndarray
    grey: np.ndarray
    white: np.ndarray
    ventricles: np.ndarray
    depth: np.ndarray
    pull: np.ndarray
    grid: Grid


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A subject's warped maps on its grid; as in `Template`, with atrophy in `t1`.

    `lateral` is the distance from the subject's own midline, mm, positive on the right.
    """

    t1: np.ndarray
    grey: np.ndarray
    white: np.ndarray
    ventricles: np.ndarray
    depth: np.ndarray
    lateral: np.ndarray
    grid: Grid

    def coordinates(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """MNI coordinates of the voxels, mm: three float32 arrays that broadcast to the grid's shape."""
        x, y, z = (
            (self.grid.affine[a][3] + self.grid.spacing[a] * np.arange(n)).astype(np.float32)
            for a, n in enumerate(self.grid.shape)
        )
        return x[:, None, None], y[None, :, None], z[None, None, :]


@lru_cache(maxsize=2)
def load_template(spacing: float) -> Template:
    """Reads and prepares the MNI152 maps that nilearn ships, once per process and spacing (mm)."""
    t1, grey, white = (read_template(kind).data for kind in ("t1", "gm", "wm"))
    brain = t1 > 0
    depth = _depth(brain)
    grid = template_grid(spacing)
    ventricles = _ventricles(t1, depth)
    t1 = np.where(brain, np.maximum(t1, TEMPLATE_CSF), TEMPLATE_CSF).astype(np.float32)
    sigma = np.sqrt(max(spacing**2 - 1.0, 0.0)) / _FULL_WIDTH
    maps = (t1, grey / 255.0, white / 255.0, ventricles)
    t1, grey, white, soft = (ndimage.gaussian_filter(m, sigma) if sigma else m for m in maps)
    return Template(t1, grey, white, soft, depth, _pull(ventricles, grid), grid)


def _ventricles(t1: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """1 in fluid deep inside the brain, in pieces of more than 300 mm^3."""
    labels, _ = ndimage.label((t1 < 110.0) & (depth < -12.0))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return (sizes > 300)[labels].astype(np.float32)


def _pull(ventricles: np.ndarray, grid: Grid) -> np.ndarray:
    """Directions toward the ventricles, longest 1, (3, X, Y, Z); computed at 3 mm, they are smooth."""
    slopes = np.stack(np.gradient(ndimage.gaussian_filter(ventricles[::3, ::3, ::3], 2.0)))
    slopes /= np.sqrt((slopes**2).sum(axis=0)).max()
    return np.stack([resample(Volume(slope, template_grid(3.0)), grid).data for slope in slopes])


def _depth(brain: np.ndarray) -> np.ndarray:
    """Distance from the brain's closed outer hull, mm, negative inside; computed at 3 mm, it is smooth."""
    coarse = np.pad(brain[1::3, 1::3, 1::3], 8)
    hull = ndimage.distance_transform_edt(~coarse) <= 1.5
    hull = ndimage.binary_fill_holes(ndimage.distance_transform_edt(hull) > 1.5)
    inside, outside = (ndimage.distance_transform_edt(m) for m in (hull, ~hull))
    signed = (3.0 * (outside - inside)).astype(np.float32)
    affine = np.diag((3.0, 3.0, 3.0, 1.0))
    affine[:3, 3] = np.array(ATLAS_ORIGIN) + 1.0 - 8 * 3.0
    return resample(Volume(signed, Grid.of(signed.shape, affine)), template_grid(1.0)).data


def make_anatomy(template: Template, rng: np.random.Generator, enlarged: tuple[float, float]) -> Anatomy:
    """Warps the template and widens ventricles and sulci.

    Args:
        template: Its grid is the result's.
        rng: Decides the warp and the atrophy.
        enlarged: How far the left and the right ventricle walls move outward, mm (ex vacuo: more on the side
            of a large lesion).

    Returns:
        The subject's maps.
    """
    grid = template.grid
    at = _sampling_points(template, rng, enlarged)

    def warped(data: np.ndarray) -> np.ndarray:
        return ndimage.map_coordinates(data, at, order=1, mode="nearest", output=np.float32)

    t1 = warped(template.t1)
    # Atrophy: what is partly fluid becomes more so, by a factor that varies over the brain.
    gain = np.exp(rng.normal(0.0, 0.15) + 0.25 * smooth_field(rng, grid, 35.0))
    t1 = np.where(
        t1 < TEMPLATE_GREY, np.maximum(TEMPLATE_GREY - (TEMPLATE_GREY - t1) * gain, TEMPLATE_CSF), t1
    )
    return Anatomy(
        t1=t1.astype(np.float32),
        grey=warped(template.grey),
        white=warped(template.white),
        ventricles=warped(template.ventricles),
        depth=warped(template.depth),
        lateral=at[0] + np.float32(ATLAS_ORIGIN[0]),
        grid=grid,
    )


def _sampling_points(
    template: Template, rng: np.random.Generator, enlarged: tuple[float, float]
) -> np.ndarray:
    """Template voxels (3, X, Y, Z) that the subject's voxels show."""
    grid = template.grid
    side = np.tanh((grid.affine[0][3] + grid.spacing[0] * np.arange(grid.shape[0])) / 6.0)
    left, right = enlarged
    wall = (left * (1.0 - side) / 2.0 + right * (1.0 + side) / 2.0)[:, None, None].astype(np.float32)
    center = np.array((98.0, 116.0, 72.0))
    size = 1.0 + rng.normal(0.0, 0.03, 3)
    at = np.empty((3, *grid.shape), np.float32)
    for axis in range(3):
        line = center[axis] + (np.arange(grid.shape[axis]) * grid.spacing[axis] - center[axis]) * size[axis]
        shape = [1, 1, 1]
        shape[axis] = -1
        at[axis] = line.reshape(shape)
        at[axis] += 2.2 * smooth_field(rng, grid, 45.0) + 1.2 * smooth_field(rng, grid, 18.0)
        at[axis] += wall * template.pull[axis]
    return at
