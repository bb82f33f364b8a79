"""Distribution batches: one epoch's plan, in which every batch mirrors the size categories of the whole.

The rules, and what they mend: docs/spec/method.md#distribution-batches. A batch is half lesion slices, half
normal ones. Shares are rounded so that batches and categories both add up (controlled rounding): every lesion
slice is used exactly once, and every batch has floor or ceil of its share of every category, the last, short
one too. Full batches have equal shares, which makes the construction short: the short batch is rounded first;
what a category then has beyond its floors are single slices, at most one per full batch, dealt over the full
batches in turn.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from lesions.errors import InputError
from lesions.folds import HOLDOUT
from lesions.statistics import Tables, size_category

NORMAL = 0


def plan(categories: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """One epoch's batches.

    Args:
        categories: (n,) size category of each training slice, 0 = normal.
        batch_size: Even; half of it lesion slices, half normal ones. The last batch may be shorter.
        seed: With `epoch` the source of all chance: the same two give the same batches.
        epoch: 0 or more.

    Returns:
        Row numbers of each batch: lesion slices first, then as many normal ones (losses sum over the batch,
        so the order inside it does not matter). Normals are drawn anew each epoch, none twice while they
        last; without any, batches are their lesion halves.

    Raises:
        InputError: A batch size that is odd or below 2, a negative seed or epoch, or no lesion slice.
    """
    categories, half = _checked(categories, batch_size)
    rng = _generator(seed, epoch)
    counts = _counts(categories)
    table = _rounded(counts, half, rng)
    # Batch by batch, each takes the next slices of every category's shuffled queue.
    queues = [rng.permutation(np.flatnonzero(categories == k)) for k in range(1, len(counts) + 1)]
    taken = table.cumsum(axis=0)
    batch_of = np.concatenate(
        [np.searchsorted(taken[:, k], np.arange(count), side="right") for k, count in enumerate(counts)]
    )
    lesions = np.concatenate(queues)[np.argsort(batch_of, kind="stable")]
    return _with_normals(_split(lesions, half), np.flatnonzero(categories == NORMAL), rng)


def training_slices(tables: Tables, folds: pd.DataFrame, plane: str, validation_fold: int) -> pd.DataFrame:
    """The slices that a plane's model may learn from: of all folds but the validation fold and the hold-out.

    Args:
        tables: Lesion statistics; normal slices need the table of every slice.
        folds: Columns subject, fold.
        plane: axial, sagittal or coronal.
        validation_fold: 1..K.

    Returns:
        Columns subject, slice, category: lesion slices, then normal ones that are not pure background.

    Raises:
        InputError: No such fold, or no table of the plane.
    """
    present = sorted(set(folds["fold"]) - {HOLDOUT})
    if validation_fold not in present:
        raise InputError(f"validation fold: must be one of {present}, found {validation_fold}")
    training = folds.loc[~folds["fold"].isin([HOLDOUT, validation_fold]), "subject"]
    return subjects_slices(tables, plane, training)


def subjects_slices(tables: Tables, plane: str, subjects: Iterable[str]) -> pd.DataFrame:
    """Some subjects' slices in a plane, as `training_slices` returns them.

    Raises:
        InputError: No table of the plane.
    """
    if plane not in tables.planes:
        raise InputError(f"plane: no table of {plane} slices, there are {', '.join(tables.planes)}")
    lesions = tables.planes[plane]
    lesions = lesions.assign(category=size_category(lesions["voxels"].to_numpy(), plane, tables.grid))
    parts = [lesions]
    if plane in tables.slices:
        every = tables.slices[plane]
        parts.append(every[(every["lesion_voxels"] == 0) & (every["nonzero"] > 0)].assign(category=NORMAL))
    rows = pd.concat(parts)[["subject", "slice", "category"]]
    return rows[rows["subject"].isin(list(subjects))].reset_index(drop=True)


def plain_plan(categories: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The comparison: the same halves and the same slices, but lesion slices shuffled without regard to size.

    Arguments, result and errors as `plan`.
    """
    categories, half = _checked(categories, batch_size)
    rng = _generator(seed, epoch)
    lesions = rng.permutation(np.flatnonzero(categories != NORMAL))
    return _with_normals(_split(lesions, half), np.flatnonzero(categories == NORMAL), rng)


def quality(categories: np.ndarray, batches: list[np.ndarray]) -> pd.DataFrame:
    """Distance of each batch's lesion slices from all lesion slices, by the shares of the size categories.

    Args:
        categories: As given to `plan`.
        batches: Its result.

    Returns:
        Columns batch (from 1), n (lesion slices), tv (total variation).
    """
    categories = np.asarray(categories)
    counts = _counts(categories)
    rows = []
    for number, batch in enumerate(batches, 1):
        inside = np.bincount(categories[batch], minlength=len(counts) + 1)[1:]
        tv = 0.5 * np.abs(inside / inside.sum() - counts / counts.sum()).sum()
        rows.append((number, int(inside.sum()), float(tv)))
    return pd.DataFrame(rows, columns=["batch", "n", "tv"])


def minimum_tv(categories: np.ndarray, batch_size: int) -> float:
    """The smallest mean TV that any plan with floor or ceil of every share can reach.

    How many full batches round a category up follows from its total and the short batch alone, so the mean
    does too, category by category: the best rounding of the short batch gives the minimum.
    """
    categories, half = _checked(categories, batch_size)
    counts = _counts(categories)
    short = _short_batch(counts, half, np.arange(len(counts)))
    return float(_tv(counts, half, short).sum()) / -(-int(counts.sum()) // half)


def _checked(categories: np.ndarray, batch_size: int) -> tuple[np.ndarray, int]:
    """Categories as integers, and the lesion slices of a full batch."""
    if batch_size < 2 or batch_size % 2:
        raise InputError(
            f"batch size: must be even, 2 or more (half lesion, half normal), found {batch_size}"
        )
    categories = np.asarray(categories, dtype=np.int64)
    if not (categories != NORMAL).any():
        raise InputError("batches: no slice with lesion to train on; check the tables and the fold map")
    return categories, batch_size // 2


def _generator(seed: int, epoch: int) -> np.random.Generator:
    if seed < 0 or epoch < 0:
        raise InputError(f"batches: seed and epoch must be 0 or more, found {seed} and {epoch}")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch])))


def _counts(categories: np.ndarray) -> np.ndarray:
    """Lesion slices of category 1, 2, ..."""
    return np.bincount(categories)[1:]


def _rounded(counts: np.ndarray, half: int, rng: np.random.Generator) -> np.ndarray:
    """(batches, categories) slices: entries floor or ceil of their share, sums exact, the short row last."""
    full = int(counts.sum()) // half
    short = _short_batch(counts, half, rng.permutation(len(counts)))
    floor, extra = _full_batches(counts, half, short)
    # Each category's run of extra slices goes on where the one before stopped. A run is never longer than
    # once round, so no batch gets two of one category, and all batches get the same number.
    order = rng.permutation(len(counts))
    run = np.repeat(order, extra[order])
    table = np.tile(floor, (full, 1))
    table[np.arange(len(run)) % max(full, 1), run] += 1
    table = table[rng.permutation(full)]
    return np.vstack([table, short]) if short.any() else table


def _short_batch(counts: np.ndarray, half: int, ties: np.ndarray) -> np.ndarray:
    """(categories,) slices of the short batch, rounded for the smallest mean TV; zeros where there is none.

    Args:
        counts: (categories,) lesion slices.
        half: Lesion slices of a full batch.
        ties: An order of the categories: of equally good ones the first is rounded up.
    """
    size = int(counts.sum()) % half
    short, remainder = np.divmod(counts * size, counts.sum())
    gain = _tv(counts, half, short) - _tv(counts, half, short + 1)
    gain[remainder == 0] = -np.inf  # a whole share is not rounded
    order = ties[np.argsort(-gain[ties].round(12), kind="stable")]
    short[order[: size - int(short.sum())]] += 1
    return short


def _full_batches(counts: np.ndarray, half: int, short: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Floor of a full batch's shares, and how many full batches have one more, given the short batch."""
    floor = counts * half // counts.sum()
    return floor, counts - short - counts.sum() // half * floor


def _tv(counts: np.ndarray, half: int, short: np.ndarray) -> np.ndarray:
    """(categories,) each category's part of the sum of all batches' TV, given the short batch."""
    total = counts.sum()
    full, size = divmod(int(total), half)
    floor, extra = _full_batches(counts, half, short)
    fraction = counts * half / total - floor
    in_full = (full - extra) * fraction + extra * (1 - fraction)
    in_short = np.abs(short - counts * size / total) / max(size, 1)
    return 0.5 * (in_full / half + in_short)


def _split(lesions: np.ndarray, half: int) -> list[np.ndarray]:
    return np.split(lesions, np.arange(half, len(lesions), half))


def _with_normals(
    batches: list[np.ndarray], normals: np.ndarray, rng: np.random.Generator
) -> list[np.ndarray]:
    """Adds as many normal slices to each batch; all of them are used before one comes again."""
    if not len(normals):
        return batches
    wanted = sum(map(len, batches))
    times = -(-wanted // len(normals))
    drawn = np.concatenate([rng.permutation(normals) for _ in range(times)])[:wanted]
    return [np.concatenate(pair) for pair in zip(batches, _split(drawn, len(batches[0])), strict=True)]
