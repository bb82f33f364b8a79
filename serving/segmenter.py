"""One volume to a lesion mask: reslice, cut, predict, fuse, back. The one way for every caller."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from lesions import fusion, nifti, slices
from lesions.errors import InputError
from lesions.grid import Grid, Volume, resample
from lesions.mni import REMEDY, MniCheck, mni_check
from lesions.progress import Progress
from lesions.slices import ONE_SLICE, Context
from serving import registration
from serving.predictor import Predictor

RULES = {"mean": fusion.fuse_mean, "majority": fusion.fuse_majority}
FIRST = f"{REMEDY} (register: affine does it, docs/segment.md)"
BY_HAND = "look at it closely, or register the scan by other means (docs/segment.md)"
BLURRED = 1e-3  # of the maximum: what reslicing spreads into empty slices stays below


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A segmented scan.

    Attributes:
        probability: float32 lesion probability on the scan's own grid.
        mask: uint8, 1 = lesion, on the scan's own grid.
        plane_probabilities: (X, Y, Z) float32 of each plane, on the models' grid.
        fused_probability: (X, Y, Z) float32 on the models' grid.
        fused_mask: (X, Y, Z) uint8 on the models' grid.
        planes: The planes used.
        mni: Whether the scan lies in MNI space; where it was registered, whether it does so now.
        disagreement: One minus the mean Dice of the planes' own masks, pair by pair; None with one plane.
        uncertainty: Where the planes disagree, on the scan's own grid: at each voxel the largest less the smallest
            of their probabilities, float32, 0 (they agree) to 1; None with one plane.
        messages: What the user should know, a line each.
        transform: (4, 4) from the scan's millimeters to the template's, by which it was registered; else None.
    """

    probability: Volume
    mask: Volume
    plane_probabilities: dict[str, np.ndarray]
    fused_probability: np.ndarray
    fused_mask: np.ndarray
    planes: tuple[str, ...]
    mni: MniCheck
    disagreement: float | None
    uncertainty: Volume | None
    messages: tuple[str, ...]
    transform: np.ndarray | None = None


def segment(
    volume: Volume,
    predictor: Predictor,
    rule: str = "mean",
    threshold: float = 0.5,
    progress: Progress | None = None,
    flip: bool = False,
    register: str | None = None,
    strict: bool = False,
) -> Segmentation:
    """Segments one T1 volume in any orientation and spacing.

    See docs/spec/method.md#fusion-and-3-d-evaluation and docs/spec/method.md#container.

    Args:
        volume: Raw T1 intensities.
        predictor: The models; all its planes are used.
        rule: "mean" of the planes' probabilities, or "majority" of their masks.
        threshold: Lesion where the probability is this or more, above 0 and below 1.
        progress: Called with (slices done, slices in all).
        flip: Predict the scan mirrored left to right too, and average; twice the time.
        register: "affine" lays the scan onto the template first (`serving.registration`), for scans that are not in
            MNI space; None takes it as it lies.
        strict: Refuse a scan that does not lie in MNI space, or may not, instead of warning.

    Returns:
        Masks and probabilities on the scan's own grid and on the models'.

    Raises:
        InputError: The volume is not finite or constant, an option is out of range, the scan cannot be registered, or
            is refused (strict).
    """
    check_options(rule, threshold, register)
    _check_intensities(volume.data)
    if register is None:
        return _segment(volume, predictor, rule, threshold, progress, flip, False, strict)
    # Only the affine changes, and is put back at the end: nothing is resliced twice.
    transform, own = registration.register(volume), volume.grid
    placed = Volume(volume.data, Grid.of(own.shape, transform @ own.matrix))
    done = _segment(placed, predictor, rule, threshold, progress, flip, True, strict)
    return replace(
        done,
        probability=Volume(done.probability.data, own),
        mask=Volume(done.mask.data, own),
        uncertainty=Volume(done.uncertainty.data, own) if done.uncertainty else None,
        transform=transform,
    )


def _segment(
    volume: Volume,
    predictor: Predictor,
    rule: str,
    threshold: float,
    progress: Progress | None,
    flip: bool,
    registered: bool,
    strict: bool,
) -> Segmentation:
    """Segments a volume where its affine puts it."""
    grid = predictor.card(predictor.planes[0]).grid
    check = mni_check(volume)
    placed = _placement(check, registered)
    if strict and placed:
        raise InputError(placed)
    template = to_grid(volume, grid)
    by_plane = _predict(template, _floor(volume, template), predictor, progress, flip)
    probability, mask = RULES[rule](list(by_plane.values()), threshold)
    native = to_grid(Volume(probability, grid), volume.grid)
    apart = Volume(fusion.disagreement(by_plane.values()), grid) if len(by_plane) > 1 else None
    return Segmentation(
        probability=native,
        mask=_native_mask(Volume(mask, grid), native, threshold if rule == "mean" else None),
        plane_probabilities=by_plane,
        fused_probability=probability,
        fused_mask=mask,
        planes=predictor.planes,
        mni=check,
        disagreement=disagreement([p >= threshold for p in by_plane.values()]),
        uncertainty=to_grid(apart, volume.grid) if apart else None,
        messages=(*filter(None, [placed]), *_messages(volume, template)),
    )


def check_options(rule: str, threshold: float, register: str | None = None) -> None:
    """Raises InputError where an option is none of ours, or registration is not installed."""
    if rule not in RULES:
        raise InputError(f"rule: expected {' or '.join(RULES)}, found {rule!r}")
    if not 0.0 < threshold < 1.0:
        raise InputError(f"threshold: expected a number above 0 and below 1, found {threshold}")
    registration.require(register)


def to_grid(volume: Volume, grid: Grid) -> Volume:
    """The volume on another grid: only turned where that is enough, else resliced (trilinear)."""
    if not _only_turned(volume.grid, grid):
        return resample(volume, grid)
    turned = nifti.oriented_like(volume, grid.matrix)
    return Volume(np.ascontiguousarray(turned.data), grid)


def disagreement(masks: list[np.ndarray]) -> float | None:
    """One minus the mean plain Dice over all pairs of boolean masks; two empty masks agree."""
    if len(masks) < 2:
        return None
    sizes = [int(mask.sum()) for mask in masks]
    shares = []
    for first, second in combinations(range(len(masks)), 2):
        both = int((masks[first] & masks[second]).sum())
        together = sizes[first] + sizes[second]
        shares.append(2 * both / together if together else 1.0)
    return 1.0 - sum(shares) / len(shares)


def _only_turned(grid: Grid, other: Grid) -> bool:
    empty = Volume(np.broadcast_to(np.uint8(0), grid.shape), grid)
    return nifti.oriented_like(empty, other.matrix).grid.same_as(other)


def _native_mask(mask: Volume, probability: Volume, threshold: float | None) -> Volume:
    """The mask on the probability's grid; a threshold decides there anew, votes (None) are interpolated."""
    if _only_turned(mask.grid, probability.grid):
        return to_grid(mask, probability.grid)
    if threshold is None:
        decided = resample(Volume(mask.data.astype(np.float32), mask.grid), probability.grid).data >= 0.5
    else:
        decided = probability.data >= threshold
    return Volume(decided.astype(np.uint8), probability.grid)


def _check_intensities(data: np.ndarray) -> None:
    unusable = int(data.size - np.count_nonzero(np.isfinite(data)))
    if unusable:
        raise InputError(f"{unusable} of {data.size} voxels are not finite (NaN or infinite); set them to 0")
    if data.min() == data.max():
        raise InputError(f"every voxel is {data.flat[0]:g}: no image in it; give a T1 scan")


def _floor(volume: Volume, template: Volume) -> float:
    """What a slice must exceed not to be empty: 0, or what reslicing's smoothing spreads at most."""
    if _only_turned(volume.grid, template.grid):
        return 0.0
    return BLURRED * float(np.abs(template.data).max())


def _predict(
    volume: Volume, floor: float, predictor: Predictor, progress: Progress | None, flip: bool
) -> dict[str, np.ndarray]:
    """Probabilities (X, Y, Z) of each plane; empty slices are not sent, they stay 0 (docs/spec/method.md#slices).

    The first axis of the models' grid runs from left to right: mirrored along it, sagittal slices come in reverse
    order, rows of the other planes' slices are reversed. A view of the mirrored data does both.
    """
    views = [volume.data, volume.data[::-1]] if flip else [volume.data]
    filled = {plane: [_filled(slices.cut(v, plane), floor) for v in views] for plane in predictor.planes}
    done, total = 0, sum(len(rows) for plane in filled.values() for rows in plane)
    found = {}
    for plane in predictor.planes:
        context, answers = predictor.card(plane).context, []
        for view, rows in zip(views, filled[plane], strict=True):
            stack = slices.cut(view, plane)
            answer = np.zeros(stack.shape, np.float32)
            for start in range(0, len(rows), predictor.slices_at_once):
                some = rows[start : start + predictor.slices_at_once]
                answer[some] = predictor.predict(plane, _asked(stack, some, context, rows))
                done += len(some)
                if progress:
                    progress(done, total)
            answers.append(slices.put_back(answer, plane))
        found[plane] = (answers[0] + answers[1][::-1]) / np.float32(2) if flip else answers[0]
    return found


def _asked(whole: np.ndarray, rows: np.ndarray, context: Context, filled: np.ndarray) -> np.ndarray:
    """Slices (n, h, w), or stacks (n, slices, h, w) whose empty neighbors are zeros, as the training saw them."""
    if context == ONE_SLICE:
        return np.ascontiguousarray(whole[rows], np.float32)
    stacks = np.ascontiguousarray(slices.stacks(whole, rows, context), np.float32)
    stacks[~np.isin(rows[:, None] + np.asarray(context), filled)] = 0
    return stacks


def _filled(stack: np.ndarray, floor: float) -> np.ndarray:
    return np.flatnonzero(np.abs(stack).max(axis=(1, 2)) > floor)


def _placement(check: MniCheck, registered: bool) -> str:
    """What is said of a scan that is not where the models know brains; empty where it is."""
    if not check.flagged:
        return ""
    return f"registered, yet {check.said(BY_HAND)}" if registered else check.said(FIRST)


def _messages(volume: Volume, template: Volume) -> tuple[str, ...]:
    lines = []
    if not template.data.any():
        lines.append(
            "no part of the scan lies within the models' grid: the mask is empty; register the scan first"
        )
    lowest, highest = float(volume.data.min()), float(volume.data.max())
    if lowest < -0.05 * abs(highest):
        lines.append(
            f"intensities go down to {lowest:g}: the models expect a background of 0, the mask may be wrong"
        )
    return tuple(lines)
