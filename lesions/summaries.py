"""Summaries of per-slice and per-subject counts; each says its n (raxnet.md, 7 and 9)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lesions import metrics

SCORES = ("dice", "recall", "precision")


def slice_summary(counts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Summarizes the slices of a validation fold in three ways, never mixed.

    Args:
        counts: Rows of subject, slice, lesion_voxels, tp, fp, fn: every slice that is not background.
        seed: Draws the normals of the published protocol.

    Returns:
        protocol, n, dice, recall, precision (means), dice_sd (population), dice_median, floor (mean Dice of an
        all-empty prediction). Protocols: `published`: lesion slices and as many normals, smoothed by 1;
        `all slices`: smoothed by 1; `lesion slices`: unsmoothed.
    """
    lesion = counts[counts["lesion_voxels"] > 0]
    normal = counts[counts["lesion_voxels"] == 0]
    drawn = normal.sample(min(len(lesion), len(normal)), random_state=seed)
    return pd.DataFrame(
        [
            {"protocol": "published", **_means(pd.concat([lesion, drawn]), 1.0)},
            {"protocol": "all slices", **_means(counts, 1.0)},
            {"protocol": "lesion slices", **_means(lesion, 0.0)},
        ]
    )


def _means(counts: pd.DataFrame, smoothing: float) -> dict[str, Any]:
    tp, fp, fn = (counts[name].to_numpy() for name in ("tp", "fp", "fn"))
    values = {name: getattr(metrics, name)(tp, fp, fn, smoothing) for name in SCORES}
    nothing = np.zeros_like(tp)
    floor = metrics.dice(nothing, nothing, tp + fn, smoothing)
    row: dict[str, Any] = {"n": len(counts)} | {name: _mean(values[name]) for name in SCORES}
    spread = float(np.std(values["dice"], ddof=0)) if len(counts) > 1 else float("nan")
    median = float(np.median(values["dice"])) if len(counts) else float("nan")
    return row | {"dice_sd": spread, "dice_median": median, "floor": _mean(floor)}


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def holdout_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Summarizes 3-D scores per prediction (each plane, fused).

    Args:
        rows: subject, prediction, dice, recall, precision, volume_difference.

    Returns:
        prediction, n, dice, dice_sd (population), dice_median, recall, precision, volume_difference; in order
        of appearance.
    """
    out = []
    for prediction, group in rows.groupby("prediction", sort=False):
        row = {"prediction": prediction, "n": len(group)}
        row |= {
            "dice": group["dice"].mean(),
            "dice_sd": group["dice"].std(ddof=0),
            "dice_median": group["dice"].median(),
        }
        row |= {name: group[name].mean() for name in ("recall", "precision", "volume_difference")}
        out.append(row)
    return pd.DataFrame(out)
