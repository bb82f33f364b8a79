"""Summaries of per-slice and per-subject scores; each says its n and what it left out.

They hold for slices (docs/spec/method.md#losses-and-slice-metrics) and for subjects
(docs/spec/method.md#fusion-and-3-d-evaluation). Every figure follows from tables of tp, fp, fn: nothing is
stored twice. Slices and subjects are never averaged together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lesions import metrics
from lesions.bootstrap import RESAMPLES, mean_interval
from lesions.grid import Grid
from lesions.metrics import SCORES
from lesions.statistics import size_category

PUBLISHED, ALL, LESION = "published", "all slices", "lesion slices"


def with_scores(counts: pd.DataFrame) -> pd.DataFrame:
    """Adds the overlap scores of every row of tp, fp, fn; columns of `metrics.overlap`."""
    return counts.assign(**metrics.overlap(*(counts[name].to_numpy() for name in ("tp", "fp", "fn"))))


def with_category(rows: pd.DataFrame, table: str, grid: Grid | None = None) -> pd.DataFrame:
    """Adds size_category, 1 to 6 by the true lesion_voxels, 0 without lesion.

    Args:
        rows: Have lesion_voxels.
        table: "3d" for subjects, a plane for slices.
        grid: Of the scans; None means 1 mm.
    """
    return rows.assign(size_category=size_category(rows["lesion_voxels"].to_numpy(), table, grid))


def describe(
    values: Sequence[float] | np.ndarray,
    clusters: Sequence[Any] | np.ndarray | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, float]:
    """Describes scores; what has no value (NaN) is counted apart, not passed over in silence.

    Args:
        values: (n,) scores.
        clusters: (n,) whose they are: slices of one subject are not independent, so subjects are resampled.
        seed: Of the bootstrap.
        resamples: Of the bootstrap.

    Returns:
        n, left_out (without a value), mean, sd_population (divisor n), sd_sample (divisor n - 1), median, q1, q3,
        ci_low, ci_high (95 % percentile bootstrap of the mean). NaN where n is too small for a figure.
    """
    values = np.asarray(values, dtype=np.float64).ravel()
    kept = ~np.isnan(values)
    base = metrics.summarize(values)
    low, high = mean_interval(
        values[kept], None if clusters is None else np.asarray(clusters)[kept], seed, resamples
    )
    n = int(base["n"])
    return {
        "n": n,
        "left_out": int(len(values) - n),
        "mean": base["mean"],
        "sd_population": base["sd"],
        "sd_sample": float(values[kept].std(ddof=1)) if n > 1 else float("nan"),
        "median": base["median"],
        "q1": base["q1"],
        "q3": base["q3"],
        "ci_low": low,
        "ci_high": high,
    }


def summary(
    rows: pd.DataFrame,
    scores: Sequence[str],
    by: Sequence[str] = (),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Describes some scores of a table, over all its rows or group by group.

    Args:
        rows: A row per slice or per subject, with the column subject and the scores.
        scores: Columns to describe.
        by: Columns whose values make the groups, in order of appearance.
        seed: Of the bootstrap, which resamples subjects.
        resamples: Of the bootstrap.

    Returns:
        A row per group and score: `by`, score, subjects, and `describe`'s figures.
    """
    made = []
    for key, group in groups(rows, by):
        subjects = {"subjects": group["subject"].nunique()}
        for score in scores:
            figures = describe(group[score].to_numpy(), group["subject"].to_numpy(), seed, resamples)
            made.append(key | {"score": score} | subjects | figures)
    return pd.DataFrame(made)


def pooled(counts: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Micro averages: plain scores of the summed counts, in which large lesions weigh by their voxels.

    Args:
        counts: tp, fp, fn of slices or of subjects.
        by: Columns whose values make the groups.

    Returns:
        A row per group: `by`, n (rows), tp, fp, fn, dice, recall, precision; NaN without a row.
    """
    made = []
    for key, group in groups(counts, by):
        total = {name: int(group[name].sum()) for name in ("tp", "fp", "fn")}
        scores = metrics.overlap(*total.values())
        figures = {name: float(scores[name]) if len(group) else float("nan") for name in SCORES}
        made.append(key | {"n": len(group)} | total | figures)
    return pd.DataFrame(made)


def protocols(counts: pd.DataFrame, seed: int) -> dict[str, pd.DataFrame]:
    """The slices that each protocol counts.

    Args:
        counts: Rows of subject, slice, lesion_voxels, ...: every slice that is not background.
        seed: Draws the normals of the published protocol.

    Returns:
        `published`: lesion slices and as many normals; `all slices`; `lesion slices`.
    """
    lesion = counts[counts["lesion_voxels"] > 0]
    normal = counts[counts["lesion_voxels"] == 0]
    drawn = normal.sample(min(len(lesion), len(normal)), random_state=seed)
    return {PUBLISHED: pd.concat([lesion, drawn]), ALL: counts, LESION: lesion}


def holdout_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Summarizes 3-D scores per prediction (each plane, fused).

    Args:
        rows: subject, prediction, dice, recall, precision, volume_difference.

    Returns:
        prediction, n, dice, dice_sd (population), dice_median, recall, precision, volume_difference; in order
        of appearance.
    """
    made = []
    for key, group in groups(rows, ["prediction"]):
        dice = {"dice": group["dice"].mean(), "dice_sd": group["dice"].std(ddof=0)}
        dice["dice_median"] = group["dice"].median()
        means = {name: group[name].mean() for name in ("recall", "precision", "volume_difference")}
        made.append(key | {"n": len(group)} | dice | means)
    return pd.DataFrame(made)


def groups(rows: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Each group's key by column and its rows, in order of appearance; without `by` all rows, even none."""
    if not by:
        yield {}, rows
        return
    names = by[0] if len(by) == 1 else list(by)  # pandas 1.5 warns of a list of one
    for key, group in rows.groupby(names, sort=False, dropna=False, observed=True):
        yield dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True)), group
