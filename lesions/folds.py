"""Hold-out and folds: one subject -> fold map for all planes, each fold with the whole's lesion sizes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from lesions.balance import Sample, balance
from lesions.errors import InputError
from lesions.statistics import CATEGORIES, Tables, size_category

HOLDOUT = 0
COLUMNS = ("subject", "fold")
QUALITY_COLUMNS = ("table", "fold", "subjects", "n", "tv", "ks", "mwu_p")
_HOLDOUT_ROUNDS = 10
_FOLD_ROUNDS = 100


def make_folds(tables: Tables, folds: int, holdout: float = 0.2, seed: int = 0) -> pd.DataFrame:
    """Draws the hold-out and K folds, alike in lesion sizes; subjects per fold within one of each other.

    Args:
        tables: Lesion statistics; whichever planes are there are balanced.
        folds: K, two or more.
        holdout: Share of the subjects kept out, in [0, 1), stratified on the 3-D size categories.
        seed: The same seed gives the same map.

    Returns:
        Columns subject and fold (0 = hold-out, 1..K), sorted by subject.

    Raises:
        InputError: One subject, fewer training subjects than folds, or a parameter out of its range.
    """
    if folds < 2:
        raise InputError(f"folds: must be 2 or more, found {folds}; use --folds 5")
    if not 0 <= holdout < 1:
        raise InputError(f"holdout: must be a share in [0, 1), found {holdout:g}; use --holdout 0.2")
    if seed < 0:
        raise InputError(f"seed: must be 0 or more, found {seed}; use --seed 0")
    subjects = np.sort(tables.lesions_3d["subject"].to_numpy(dtype=str))
    strata = _strata(tables, subjects)
    quotas = _quotas(strata, holdout)
    training = len(subjects) - int(quotas.sum())
    if training < folds:
        raise InputError(
            f"folds: {folds} folds need as many training subjects, found {training} "
            f"({len(subjects)} subjects, hold-out {holdout:g}); use fewer folds or a smaller hold-out"
        )
    rng = np.random.Generator(np.random.PCG64(seed))
    fold = np.zeros(len(subjects), dtype=np.int64)
    rest = ~_draw_holdout(tables, subjects, strata, quotas, rng)
    fold[rest] = 1 + _draw_folds(tables, subjects[rest], strata[rest], folds, rng)
    return pd.DataFrame({"subject": subjects, "fold": fold})


def quality(tables: Tables, folds: pd.DataFrame) -> pd.DataFrame:
    """How far each fold is from the others, and the hold-out from all folds, in each table.

    The others are the other folds without the hold-out: not a whole that contains the fold
    (docs/spec/method.md#hold-out-and-folds).

    Args:
        tables: Lesion statistics.
        folds: Columns subject, fold.

    Returns:
        Columns table ("3d" or a plane), fold, subjects, n (rows: subjects or lesion slices), tv (of the six
        size categories), ks, mwu_p (two-sided); NaN where one side is empty.
    """
    rows = []
    fold_of = folds.set_index("subject")["fold"]
    for table, frame in [("3d", tables.lesions_3d), *tables.planes.items()]:
        sizes = frame["voxels"].to_numpy()
        category = size_category(sizes, table, tables.grid)
        own = fold_of.loc[frame["subject"]].to_numpy()
        for fold in sorted(set(folds["fold"])):
            inside, outside = own == fold, (own != fold) & (own != HOLDOUT)
            subjects = int((folds["fold"] == fold).sum())
            figures = _compare(sizes[inside], sizes[outside], category[inside], category[outside])
            rows.append((table, int(fold), subjects, int(inside.sum()), *figures))
    return pd.DataFrame(rows, columns=list(QUALITY_COLUMNS))


def check_folds(frame: pd.DataFrame, subjects: Iterable[str]) -> None:
    """Proves a fold map: every subject once, nobody else, folds 1..K (two or more) none of them empty.

    Raises:
        InputError: The first rule that is broken, with the subject or fold.
    """
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise InputError(f"fold map: column {missing[0]} is missing; expected subject,fold")
    mapped = frame["subject"].astype(str)
    twice = mapped[mapped.duplicated()]
    if len(twice):
        raise InputError(f"fold map: {twice.iloc[0]} is there twice; a subject belongs to one fold")
    wanted = set(subjects)
    for name, fault in (
        (sorted(wanted - set(mapped)), "has no fold; add it (0 = hold-out)"),
        (sorted(set(mapped) - wanted), "is not in the data set; remove it"),
    ):
        if name:
            raise InputError(f"fold map: {name[0]} {fault}")
    if not pd.api.types.is_integer_dtype(frame["fold"]):
        raise InputError(
            "fold map: folds must be whole numbers (0 = hold-out, 1, 2, ...); correct the column fold"
        )
    present = set(map(int, frame["fold"])) - {HOLDOUT}
    if len(present) < 2 or present != set(range(1, len(present) + 1)):
        raise InputError(
            f"fold map: folds must be 1..K, K 2 or more, found {sorted(present)}; number them anew"
        )


def folds_digest(frame: pd.DataFrame) -> str:
    """SHA-256, hex, of the map itself, whatever the order of its rows."""
    pairs = sorted(zip(frame["subject"].astype(str), frame["fold"].astype(int), strict=True))
    return hashlib.sha256("".join(f"{subject},{fold}\n" for subject, fold in pairs).encode()).hexdigest()


def read_folds(path: str | Path) -> pd.DataFrame:
    """Reads a fold map: CSV with columns subject and fold, or JSON {subject: fold}; sorted by subject.

    Raises:
        InputError: No such file, or neither of the two. `check_folds` proves what it says.
    """
    path = Path(path)
    try:
        if path.suffix == ".json":
            pairs = json.loads(path.read_text()).items()
            frame = pd.DataFrame(sorted(pairs), columns=list(COLUMNS))
        else:
            frame = pd.read_csv(path, dtype={"subject": str})
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give the fold map that raxnet folds wrote") from None
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise InputError(f"{path}: not a fold map ({error}); expected columns subject,fold") from None
    if list(COLUMNS) != [column for column in frame.columns if column in COLUMNS]:
        raise InputError(f"{path}: columns {', '.join(map(str, frame.columns))}; expected subject,fold")
    return frame[list(COLUMNS)].sort_values("subject", kind="stable").reset_index(drop=True)


def _strata(tables: Tables, subjects: np.ndarray) -> np.ndarray:
    """3-D size category of each subject, in the order of `subjects`."""
    voxels = tables.lesions_3d.set_index("subject")["voxels"].loc[subjects].to_numpy()
    return size_category(voxels, "3d", tables.grid)


def _quotas(strata: np.ndarray, holdout: float) -> np.ndarray:
    """Subjects to hold out of each 3-D category, (7,): every share rounded down or up, by largest remainder.

    The total is that of the shares each rounded to the nearest (132 of ATLAS's 655), where that is within one
    of the whole share; in small data sets it is the whole share, rounded, and at least one.
    """
    shares = np.bincount(strata, minlength=CATEGORIES + 1) * holdout
    whole = shares.sum()
    nearest = int(np.floor(shares + 0.5).sum())
    total = nearest if abs(nearest - whole) <= 1 else int(np.floor(whole + 0.5))
    total = max(total, 1) if holdout > 0 else 0
    quotas = np.floor(shares + 1e-9).astype(np.int64)
    order = np.argsort(-(shares - quotas), kind="stable")
    quotas[order[: max(total - int(quotas.sum()), 0)]] += 1
    return quotas


def _samples(tables: Tables, subjects: np.ndarray) -> list[Sample]:
    """Each table's rows of `subjects` alone, with subjects as numbers."""
    samples = []
    for table, frame in [("3d", tables.lesions_3d), *tables.planes.items()]:
        chosen = frame[frame["subject"].isin(subjects)]
        sizes = chosen["voxels"].to_numpy()
        owner = np.searchsorted(subjects, chosen["subject"].to_numpy(dtype=str))
        samples.append(Sample(owner, sizes, size_category(sizes, table, tables.grid), table != "3d"))
    return samples


def _draw_holdout(
    tables: Tables, subjects: np.ndarray, strata: np.ndarray, quotas: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(subjects,) bool: a random draw of each category's quota, improved by swaps within the category."""
    held = np.zeros(len(subjects), dtype=np.int64)
    for stratum, quota in enumerate(quotas):
        held[rng.permutation(np.flatnonzero(strata == stratum))[:quota]] = 1
    if held.any():
        held = balance(_samples(tables, subjects), held, strata, _HOLDOUT_ROUNDS, rng)
    return held.astype(bool)


def _draw_folds(
    tables: Tables, subjects: np.ndarray, strata: np.ndarray, folds: int, rng: np.random.Generator
) -> np.ndarray:
    """(subjects,) 0..K-1: each 3-D category dealt out like cards, then improved by swaps."""
    shuffled = rng.permutation(len(subjects))
    dealt = shuffled[np.argsort(strata[shuffled], kind="stable")]
    fold = np.empty(len(subjects), dtype=np.int64)
    fold[dealt] = np.arange(len(subjects)) % folds
    return balance(_samples(tables, subjects), fold, None, _FOLD_ROUNDS, rng)


def _compare(
    inside: np.ndarray, outside: np.ndarray, categories_in: np.ndarray, categories_out: np.ndarray
) -> tuple[float, float, float]:
    """TV of the size categories, KS of the sizes and two-sided Mann-Whitney p of two samples."""
    if not len(inside) or not len(outside):
        return np.nan, np.nan, np.nan
    bins = CATEGORIES + 1
    shares = [np.bincount(c, minlength=bins) / len(c) for c in (categories_in, categories_out)]
    tv = 0.5 * float(np.abs(shares[0] - shares[1]).sum())
    points = np.union1d(inside, outside)
    cdfs = [np.searchsorted(np.sort(s), points, side="right") / len(s) for s in (inside, outside)]
    ks = float(np.abs(cdfs[0] - cdfs[1]).max())
    test = stats.mannwhitneyu(inside, outside, alternative="two-sided", method="asymptotic")
    return tv, ks, float(test.pvalue)
