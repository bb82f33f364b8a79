"""What a scanner would show: tissue contrast, outer head, mimics of lesions, lesions, bias field and noise."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lesions.phantom.anatomy import TEMPLATE_CSF, TEMPLATE_GREY, TEMPLATE_WHITE, Anatomy
from lesions.phantom.fields import smooth_field, soft_step
from lesions.phantom.lesions import Lesion

_FULL_WIDTH = 2.355  # full width at half maximum of a Gaussian, in its sigmas


def render(anatomy: Anatomy, lesions: list[Lesion], rng: np.random.Generator) -> np.ndarray:
    """Renders a T1-weighted scan.

    Args:
        anatomy: The subject's maps.
        lesions: The subject's lesions.
        rng: Decides contrast, mimics, textures, bias field and noise.

    Returns:
        int16 intensities, white matter at some hundreds; 0 outside the head.
    """
    streams = rng.spawn(7)
    fluid, grey = streams[0].uniform(0.16, 0.28), streams[0].uniform(0.64, 0.76)
    image = np.interp(anatomy.t1, (TEMPLATE_CSF, TEMPLATE_GREY, TEMPLATE_WHITE), (fluid, grey, 1.0)).astype(
        np.float32
    )
    _add_white_matter_disease(image, anatomy, grey, streams[1])
    _add_perivascular_spaces(image, anatomy, fluid, streams[2])
    _add_cyst(image, anatomy, fluid, streams[3])
    for lesion in lesions:
        _add_lesion(image, lesion, fluid, grey, anatomy, streams[4])
    head = _add_outer_head(image, anatomy, streams[5])
    return _acquire(image, head, anatomy, streams[6])


def _add_white_matter_disease(
    image: np.ndarray, anatomy: Anatomy, grey: float, rng: np.random.Generator
) -> None:
    """Leukoaraiosis: white matter fades to grey-matter level around the ventricles and in patches, no lesion."""
    burden = rng.beta(1.2, 2.5)
    near = ndimage.gaussian_filter(anatomy.ventricles, 6.0 / anatomy.grid.spacing[0])
    near /= max(float(near.max()), 1e-6)
    field = smooth_field(rng, anatomy.grid, 9.0)
    field = 0.6 * field + 0.4 * field[::-1]  # much the same on both sides
    share = anatomy.white * soft_step(1.8 * near + 0.55 * field - (1.9 - 1.1 * burden), 0.6)
    share *= anatomy.depth < -6.0
    image -= share * np.maximum(image - grey * rng.uniform(0.9, 1.0), 0.0)


def _add_perivascular_spaces(
    image: np.ndarray, anatomy: Anatomy, fluid: float, rng: np.random.Generator
) -> None:
    """Fluid-filled spots of 4 to 25 mm^3 in basal ganglia and white matter: smaller than a lesion."""
    spacing = anatomy.grid.spacing[0]
    z = anatomy.coordinates()[2]
    deep = (anatomy.depth < -12.0) & (anatomy.ventricles < 0.1) & (z > -10) & (z < 45) & (anatomy.t1 > 150.0)
    found = np.flatnonzero(deep)
    width = float(np.hypot(0.9, spacing / _FULL_WIDTH))  # its own, and the voxel's
    reach = int(np.ceil(3.0 * width / spacing))
    offsets = spacing * np.arange(-reach, reach + 1)
    bell = np.exp(-(offsets**2) / (2.0 * width**2))
    shape = bell[:, None, None] * bell[:, None] * bell
    count = int(rng.poisson(10))
    for where, volume in zip(rng.random(count), rng.uniform(4.0, 25.0, count), strict=True):
        index = np.unravel_index(found[int(where * found.size)], anatomy.grid.shape)
        x, y, z_box = (slice(i - reach, i + reach + 1) for i in index)  # deep: never at the volume's edge
        peak = min(volume / ((2.0 * np.pi) ** 1.5 * width**3), 0.9)
        image[x, y, z_box] += (peak * shape * (fluid - image[x, y, z_box])).astype(np.float32)


def _add_cyst(image: np.ndarray, anatomy: Anatomy, fluid: float, rng: np.random.Generator) -> None:
    """In one of eight, an arachnoid cyst: a smooth pool of fluid on the brain's surface."""
    present, where, radius = rng.random() < 0.125, rng.random(), rng.uniform(5.0, 11.0)
    if not present:
        return
    found = np.flatnonzero((abs(anatomy.depth) < 1.5) & (anatomy.coordinates()[2] > -45))
    index = np.unravel_index(found[int(where * found.size)], anatomy.grid.shape)
    squares = sum(np.square(c - c.flat[i]) for c, i in zip(anatomy.coordinates(), index, strict=True))
    share = soft_step(radius - np.sqrt(squares), anatomy.grid.spacing[0])
    image += share * np.minimum(fluid - image, 0.0)


def _add_lesion(
    image: np.ndarray, lesion: Lesion, fluid: float, grey: float, anatomy: Anatomy, rng: np.random.Generator
) -> None:
    """A cavity near fluid level in scarred tissue, strands of tissue left in it, a slightly bright margin around."""
    box, spacing = lesion.box, anatomy.grid.spacing[0]
    core = fluid + (grey - fluid) * rng.uniform(0.0, 0.12)
    scar = grey * rng.uniform(0.6, 0.78)
    rim = min(rng.uniform(0.5, 3.0), 0.1 * lesion.radius)
    texture = smooth_field(rng, anatomy.grid, max(3.5, 0.35 * lesion.radius), box)
    fine = smooth_field(rng, anatomy.grid, 3.0, box)
    # A mask's outermost voxels are mostly lesion: raters outline what they see.
    present = soft_step(lesion.inside + 0.5 * spacing, max(spacing, 1.2))
    ragged = 0.25 * lesion.radius * np.minimum(texture, 0.8)
    cavity = soft_step(lesion.inside + 0.25 * spacing - rim + ragged, spacing)
    level = scar + cavity * (core - scar) + 0.06 * fine
    patch = image[box]
    patch += rng.uniform(0.08, 0.2) * _margin(lesion, anatomy)
    patch += present * (np.minimum(level, patch) - patch)


def _margin(lesion: Lesion, anatomy: Anatomy) -> np.ndarray:
    """0 to 1 in the tissue just outside a lesion: laminar necrosis and gliosis, brighter on T1."""
    width = max(anatomy.grid.spacing[0], 2.0)
    shell = np.exp(-0.5 * ((lesion.inside + 0.8 * width) / (0.5 * width)) ** 2)
    return (shell * (anatomy.grey[lesion.box] + anatomy.white[lesion.box])).astype(np.float32)


def _add_outer_head(image: np.ndarray, anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """Draws skull, marrow, fat and muscle around the brain; returns the head's share of each voxel."""
    grid, spacing = anatomy.grid, anatomy.grid.spacing[0]
    x, y, z = anatomy.coordinates()
    depth = anatomy.depth
    low = np.clip(-z / 40.0, 0.0, 1.0)  # toward the skull base, where tissue is thick
    inner = 1.5 - low + 0.6 * smooth_field(rng, grid, 30.0)
    skull = inner + np.maximum(5.5 + 1.2 * smooth_field(rng, grid, 50.0) - 4.0 * low, 2.0)
    scalp = skull + np.maximum(6.0 + 1.2 * smooth_field(rng, grid, 55.0), 2.5)
    fat, muscle = rng.uniform(0.95, 1.2), rng.uniform(0.45, 0.6)
    marrow = rng.uniform(0.2, 0.55) * np.exp(
        -(((depth - (inner + skull) / 2) / (0.22 * (skull - inner))) ** 2)
    )
    mixed = soft_step(smooth_field(rng, grid, 10.0) + 2.5 * low - 1.6, 1.0)
    soft = fat + mixed * (muscle - fat)
    outer = soft_step(depth - inner, spacing)
    image += outer * (0.1 + 0.3 * low + marrow - image)
    image += soft_step(depth - skull, spacing) * (soft - image)
    neck = soft_step(1.0 - np.sqrt((x / 66.0) ** 2 + ((y + 22.0) / 74.0) ** 2), 0.05)
    neck = neck * soft_step(scalp + 30.0 * low - depth, spacing)
    head = np.maximum(soft_step(scalp - depth, spacing), neck)
    return np.where(head < 0.1, 0.0, head).astype(np.float32)


def _acquire(image: np.ndarray, head: np.ndarray, anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """Bias field, Rician noise, the scanner's scale; air and what was cut off at defacing are 0."""
    bias = np.exp(rng.uniform(0.04, 0.11) * smooth_field(rng, anatomy.grid, 75.0))
    noise = rng.uniform(0.012, 0.03)
    white, scale = rng.spawn(1)[0], rng.uniform(250.0, 900.0)
    signal = image * head * bias
    real = signal + noise * white.standard_normal(signal.shape, dtype=np.float32)
    imaginary = noise * white.standard_normal(signal.shape, dtype=np.float32)
    magnitude = np.hypot(real, imaginary) * (head > 0)
    return np.minimum(np.rint(scale * magnitude), 32767).astype(np.int16)
