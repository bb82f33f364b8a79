"""A scan onto the MNI152 template: an affine map found by mutual information (SimpleITK, the extra `register`)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from scipy import ndimage

from lesions.errors import InputError, WorkError
from lesions.grid import SPACE, Grid, Volume, resample, template_grid
from lesions.mni import rough_placement
from lesions.template import read_template

METHODS = ("affine",)
WORKING = 2.0  # mm; finer takes longer and moves the result by less than 0.1 mm (benchmarks/registration.py)
MARGIN = 10  # working voxels around the template's box
RIM = 1  # working voxels around the brain that count too: its border is a strong sign
LEVELS, SMOOTHING = (4, 2, 1), (4.0, 2.0, 1.0)  # working voxels at a time; mm
BINS = 32
STEPS, LEAST_STEP = 300, 0.001  # a level ends after so many, or where one moves no voxel by that much (mm)
PLAUSIBLE = (0.6, 1.6)  # of a head's size to the template's, along any direction
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's axes run to the left and to the back


def require(method: str | None) -> None:
    """Fails before any work where a method is none of ours, or its library is not there; None asks for nothing.

    Raises:
        InputError: With what to do.
    """
    if method is None:
        return
    if method not in METHODS:
        raise InputError(f"register: expected {' or '.join(METHODS)}, found {method!r}")
    _library()


def register(volume: Volume) -> np.ndarray:
    """Finds the affine map that lays a scan onto the MNI152 brain; the same scan gives the same map, bit by bit.

    A coarse search over shifts, turns and one size comes first (`lesions.mni`), so that a scan may lie anywhere;
    then twelve parameters follow the mutual information of scan and template within the template's brain and its
    rim, from coarse to fine. The head around the brain may be there or not.

    Args:
        volume: T1 intensities in any orientation and spacing.

    Returns:
        (4, 4) from the scan's millimeters to the template's, both RAS.

    Raises:
        InputError: SimpleITK is not installed, or what was found is no place for a head.
        WorkError: SimpleITK failed.
    """
    itk = _library()
    rough = rough_placement(volume)
    there = Volume(volume.data, Grid.of(volume.grid.shape, rough @ volume.grid.matrix))
    scan = resample(there, _working_grid())
    # Template to scan, as ITK has it; the scan is placed roughly already.
    rest = _refine(itk, _capped(scan.data))
    found = np.linalg.inv(rest) @ rough
    sizes = np.linalg.svd(found[:3, :3], compute_uv=False)
    if not (PLAUSIBLE[0] <= sizes.min() and sizes.max() <= PLAUSIBLE[1]):
        raise InputError(
            f"the scan cannot be laid onto the template ({sizes.min():.2f} to {sizes.max():.2f} times its size): "
            "give a T1 scan of a whole head"
        )
    return found


def as_itk(matrix: np.ndarray) -> str:
    """An ITK transform file (text), as ANTs and SimpleITK read it to bring the scan onto the template's grid.

    Args:
        matrix: (4, 4) from scan to template, mm, RAS. ITK keeps the other direction, in LPS.
    """
    pull = LPS @ np.linalg.inv(matrix) @ LPS
    numbers = " ".join(repr(float(value)) for value in [*pull[:3, :3].ravel(), *pull[:3, 3]])
    return (
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {numbers}\nFixedParameters: 0 0 0\n"
    )


def _library() -> Any:
    try:
        import SimpleITK
    except ImportError:
        raise InputError(
            "register: SimpleITK, the extra `register`, is not installed; run `pip install SimpleITK`, or register "
            f"the scan to {SPACE} by other means (docs/segment.md)"
        ) from None
    # One thread: the order of sums makes the last digits. Its own setting per object does not reach all its parts.
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    return SimpleITK


def _refine(itk: Any, data: np.ndarray) -> np.ndarray:
    """(4, 4) from the template's millimeters to the roughly placed scan's, RAS."""
    brain, mask = _template()
    fixed, moving = _image(itk, brain), _image(itk, data)
    method = itk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricFixedMask(_image(itk, mask))
    method.SetMetricSamplingStrategy(method.NONE)  # every voxel: nothing is drawn
    method.SetInterpolator(itk.sitkLinear)
    method.SetShrinkFactorsPerLevel(LEVELS)
    method.SetSmoothingSigmasPerLevel(SMOOTHING)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetOptimizerAsRegularStepGradientDescent(1.0, LEAST_STEP, STEPS, relaxationFactor=0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    start = itk.AffineTransform(3)
    points = np.argwhere(mask).mean(axis=0)
    start.SetCenter(tuple(float(v) for v in (LPS @ _working_grid().matrix @ [*points, 1.0])[:3]))
    method.SetInitialTransform(start, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise WorkError(f"registration failed ({reason}); register the scan by other means") from None
    linear, center = np.array(start.GetMatrix()).reshape(3, 3), np.array(start.GetCenter())
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = center + np.array(start.GetTranslation()) - linear @ center
    return LPS @ matrix @ LPS


def _image(itk: Any, data: np.ndarray) -> Any:
    """An array on the working grid as ITK's image."""
    image = itk.GetImageFromArray(np.ascontiguousarray(data.T))
    affine = LPS @ _working_grid().matrix
    image.SetSpacing((WORKING,) * 3)
    image.SetOrigin(tuple(affine[:3, 3]))
    image.SetDirection(tuple((affine[:3, :3] / WORKING).ravel()))
    return image


def _capped(data: np.ndarray) -> np.ndarray:
    """The brightest (fat, vessels) and the darkest cut off: the histogram's bins are for tissue."""
    inside = data[_template()[1] > 0]
    # Python's floats leave float32 as it is; NumPy 2 would widen it by a float64 of its own.
    low, high = (float(v) for v in np.percentile(inside, [0.5, 99.5]))
    return np.clip(data, low, max(high, low + 1e-6))


def _working_grid() -> Grid:
    inner = template_grid(WORKING)
    affine = inner.matrix
    affine[:3, 3] -= MARGIN * WORKING
    return Grid.of(tuple(n + 2 * MARGIN for n in inner.shape), affine)


@lru_cache(maxsize=1)
def _template() -> tuple[np.ndarray, np.ndarray]:
    """The brain (float32) and where it is compared (uint8), on the working grid."""
    brain = resample(read_template("t1"), _working_grid()).data
    near = ndimage.binary_dilation(ndimage.binary_fill_holes(brain > 10), iterations=RIM)
    return brain, near.astype(np.uint8)
