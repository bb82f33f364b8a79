"""Calibration and threshold sweeps from histograms of probability against truth: the volumes need not be kept."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lesions import metrics

BINS = 200  # of equal width; every edge k / BINS is a threshold whose counts are exact
COLUMNS = ("bin", "voxels", "lesion", "probability")


def probability_histogram(probability: np.ndarray, truth: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """Bins the voxels of one prediction by their probability; histograms of parts or subjects add up.

    Args:
        probability: Of lesion, 0 to 1, any shape.
        truth: Mask of the same shape; above 0 is lesion.
        bins: Bins of equal width: bin k holds k / bins <= probability < (k + 1) / bins, the last one also 1.

    Returns:
        A row per bin: bin (from 0), voxels, lesion (those of the truth), probability (their sum over all voxels).

    Raises:
        ValueError: Shapes that differ, or a probability outside 0 to 1 (NaN too).
    """
    if np.shape(probability) != np.shape(truth):
        raise ValueError(
            f"probability and truth must have one shape, found {np.shape(probability)} and {np.shape(truth)}"
        )
    values, lesion = np.asarray(probability).ravel(), np.asarray(truth).ravel() > 0
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(f"probability must be in 0 to 1, found {values.min()} to {values.max()}")
    # Most of a volume is sure background: what is exactly 0 needs no binning.
    some = (values > 0) | lesion
    values, lesion = values[some].astype(np.float64), lesion[some]
    code = _bin_of(values, bins)
    voxels = np.bincount(code, minlength=bins)
    voxels[0] += np.size(probability) - len(values)
    return pd.DataFrame(
        {
            "bin": np.arange(bins),
            "voxels": voxels,
            "lesion": np.bincount(code[lesion], minlength=bins),
            "probability": np.bincount(code, values, minlength=bins),
        }
    )


def _bin_of(values: np.ndarray, bins: int) -> np.ndarray:
    """The bin of each value, exact at the edges k / bins although values * bins is rounded."""
    edges = np.arange(bins + 1) / bins
    code = np.minimum((values * bins).astype(np.int64), bins - 1)
    code -= values < edges[code]
    code += (values >= edges[code + 1]) & (code < bins - 1)
    return code


def add_up(histograms: pd.DataFrame) -> pd.DataFrame:
    """One histogram of many: the sum over all rows of each bin, whatever other columns there are."""
    return histograms.groupby("bin", as_index=False)[list(COLUMNS[1:])].sum()


def threshold_sweep(histogram: pd.DataFrame) -> pd.DataFrame:
    """Counts and scores at every edge of a histogram's bins, exact: lesion where probability >= threshold.

    Args:
        histogram: Of `probability_histogram` or `add_up`.

    Returns:
        A row per bin: threshold (0, 1 / bins, ..., 1 - 1 / bins), tp, fp, fn, and the columns of `metrics.overlap`.
    """
    ordered = histogram.sort_values("bin")
    lesion, voxels = ordered["lesion"].to_numpy(), ordered["voxels"].to_numpy()
    tp = np.cumsum(lesion[::-1])[::-1]
    fp = np.cumsum((voxels - lesion)[::-1])[::-1]
    fn = lesion.sum() - tp
    frame = pd.DataFrame({"threshold": np.arange(len(tp)) / len(tp), "tp": tp, "fp": fp, "fn": fn})
    return frame.assign(**metrics.overlap(tp, fp, fn))


def counts_at(histogram: pd.DataFrame, threshold: float) -> dict[str, int]:
    """tp, fp and fn of probability >= threshold.

    Raises:
        ValueError: The threshold is not an edge of the bins; names the nearest ones.
    """
    bins = len(histogram)
    edge = round(threshold * bins)
    if not 0 <= edge < bins or abs(threshold * bins - edge) > 1e-9:
        near = min(max(edge, 0), bins - 1)
        raise ValueError(
            f"threshold {threshold} is not an edge of {bins} bins; the nearest is {near / bins:g}"
        )
    row = threshold_sweep(histogram).iloc[edge]
    return {name: int(row[name]) for name in ("tp", "fp", "fn")}


def reliability(histogram: pd.DataFrame, bins: int = 10) -> pd.DataFrame:
    """The reliability curve: how often a voxel of some probability is lesion.

    Args:
        histogram: Of `probability_histogram` or `add_up`.
        bins: Of the curve; must divide the histogram's.

    Returns:
        A row per bin: low, high (edges), voxels, confidence (mean probability), frequency (share of lesion); NaN
        where a bin is empty.
    """
    fine = len(histogram)
    if fine % bins:
        raise ValueError(f"{bins} bins do not divide the histogram's {fine}")
    coarse = histogram.groupby(histogram["bin"] * bins // fine)[list(COLUMNS[1:])].sum()
    voxels = coarse["voxels"].where(coarse["voxels"] > 0)
    return pd.DataFrame(
        {
            "low": coarse.index / bins,
            "high": (coarse.index + 1) / bins,
            "voxels": coarse["voxels"],
            "confidence": coarse["probability"] / voxels,
            "frequency": coarse["lesion"] / voxels,
        }
    ).reset_index(drop=True)


def calibration_error(histogram: pd.DataFrame, bins: int = 10, lowest: float = 0.0) -> float:
    """Expected calibration error: mean |frequency - confidence| of the bins, weighted by their voxels.

    Guo et al. 2017 (arXiv:1706.04599). Sure background is most of a volume and makes this small: `lowest` leaves out
    the bins below it.

    Args:
        histogram: Of `probability_histogram` or `add_up`.
        bins: Of the reliability curve.
        lowest: Edge of a bin of the curve; bins below it do not count.

    Returns:
        0 (calibrated) to 1; NaN where no voxel counts.
    """
    curve = reliability(histogram, bins)
    curve = curve[(curve["low"] >= lowest - 1e-9) & (curve["voxels"] > 0)]
    if curve.empty:
        return float("nan")
    gaps = (curve["frequency"] - curve["confidence"]).abs()
    return float(np.average(gaps, weights=curve["voxels"]))
