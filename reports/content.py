"""What a report is made of: plain data; whatever is missing is said to be missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from lesions.grid import Grid, Volume


@dataclass(frozen=True, eq=False)
class Training:
    """One training of one network.

    Attributes:
        plane: axial, sagittal or coronal.
        fold: The fold that it was validated on, from 1.
        history: A row per epoch: epoch (from 1), loss, val_loss, val_dice; further columns are ignored.
        best_epoch: The epoch whose weights were kept, from 1; None where unknown.
    """

    plane: str
    fold: int
    history: pd.DataFrame
    best_epoch: int | None = None


@dataclass(frozen=True)
class Picture:
    """Where the volumes of one hold-out subject lie, all on one grid.

    Attributes:
        subject: Its id.
        image: The scan.
        truth: The mask drawn by a person (or made with the phantom); None where there is none.
        prediction: The fused mask.
        dice: 3-D Dice of the two, for the title; None where unknown.
        disagreement: How far the planes' probabilities lie apart (docs/evaluation.md); None with a single plane.
    """

    subject: str
    image: Path
    truth: Path | None
    prediction: Path
    dice: float | None = None
    disagreement: Path | None = None


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `raxnet compare` left of one kind of comparison (docs/training.md).

    Attributes:
        title: What was compared, on which data set.
        device: That computed.
        failed: Trainings that are missing, and why.
        scores: plane, variant, and the figures of each protocol.
        costs: A row per training.
        significance: Of each pair: plane, p_holm, sentence, ...
        subjects: plane, variant, subject, dice, ...
    """

    title: str
    device: str
    failed: tuple[str, ...]
    scores: pd.DataFrame
    costs: pd.DataFrame
    significance: pd.DataFrame
    subjects: pd.DataFrame


def _frame() -> pd.DataFrame:
    return pd.DataFrame()


@dataclass(frozen=True, eq=False)
class RunReport:
    """All that the report of one run shows. Empty frames, None and empty lists are allowed everywhere.

    Attributes:
        title: Heading of the page.
        statement: What the models were trained on (`lesions.provenance.statement`).
        phantom: True where the scans are synthetic.
        dataset: Facts of the data set, name -> value.
        findings: subject, file, problem, expected, found, remedy, severity ("error": left out; "warning": used,
            but to be looked at; "note"); session, where subjects have some.
        grid: Grid of the scans, for sizes in milliliters and square millimeters; None: 1 mm is not assumed,
            sizes stay in voxels.
        tables_3d: subject, lesions, voxels, largest: a row per subject.
        tables_plane: plane -> subject, slice, lesions, voxels, largest: a row per slice with a lesion.
        locations: Of `lesions.places.Locations.summary`: source, place, lesions, ...
        location_notes: What is to be known of the metadata sheet behind them.
        frequency: Number of subjects with a lesion in each voxel.
        folds: subject, fold (0 = hold-out).
        quality: table ("3d" or a plane), fold, subjects, n, tv, ks, mwu_p.
        batches: plane, fold, batch_size, batch, n (lesion slices), tv, tv_shuffled, minimum_tv: a row per batch of
            the first epoch of each training (`lesions.batches.quality`).
        anomalies: What the validation of the records found. With a column `problem`, rows where that is empty
            are comparisons without an anomaly; the columns are shown as they are.
        trainings: Learning curves.
        validation: plane, fold, chosen, slices (a key of `reports.validation.PROTOCOLS`), metric, and the figures of
            SliceEvaluator's summary.csv: n, mean, sd_population, ..., floor.
        comparisons: Of losses and of networks, those that were run.
        holdout: subject, prediction (a plane or "fused"), lesion_voxels, dice, recall, precision, ...: 3-D, a row
            per subject and prediction.
        scores: prediction, score, subjects, n, left_out, mean, ...: FusionEvaluator's scores.csv.
        by_category: The same for each size_category.
        slice_summary: FusionEvaluator's slice_summary.csv: slices before and after fusion.
        holdout_slices: subject, plane, lesion_voxels, and tp, fp, fn with `_before` and `_after`.
        comparison: Each plane against the fused prediction: `lesions.significance.compare`.
        uncertainty: subject, plane_disagreement.
        gates: gate, threshold, value, passed (a value must reach its threshold).
        models: A row per plane: plane, fold, network, loss, version, pushed, ...
        release: Facts of the release, None where nothing was released.
        pictures: One per hold-out subject.
        lineage: What this run's results rest on: heading -> (name -> value), a table each.
        config: The configuration, YAML text.
    """

    title: str
    statement: str
    phantom: bool
    dataset: dict[str, Any] = field(default_factory=dict)
    findings: pd.DataFrame = field(default_factory=_frame)
    grid: Grid | None = None
    tables_3d: pd.DataFrame = field(default_factory=_frame)
    tables_plane: dict[str, pd.DataFrame] = field(default_factory=dict)
    locations: pd.DataFrame = field(default_factory=_frame)
    location_notes: tuple[str, ...] = ()
    frequency: Volume | None = None
    folds: pd.DataFrame = field(default_factory=_frame)
    quality: pd.DataFrame = field(default_factory=_frame)
    batches: pd.DataFrame = field(default_factory=_frame)
    anomalies: pd.DataFrame = field(default_factory=_frame)
    trainings: list[Training] = field(default_factory=list)
    validation: pd.DataFrame = field(default_factory=_frame)
    comparisons: tuple[Comparison, ...] = ()
    holdout: pd.DataFrame = field(default_factory=_frame)
    scores: pd.DataFrame = field(default_factory=_frame)
    by_category: pd.DataFrame = field(default_factory=_frame)
    slice_summary: pd.DataFrame = field(default_factory=_frame)
    holdout_slices: pd.DataFrame = field(default_factory=_frame)
    comparison: pd.DataFrame = field(default_factory=_frame)
    uncertainty: pd.DataFrame = field(default_factory=_frame)
    gates: pd.DataFrame = field(default_factory=_frame)
    models: pd.DataFrame = field(default_factory=_frame)
    release: dict[str, Any] | None = None
    pictures: list[Picture] = field(default_factory=list)
    lineage: dict[str, dict[str, Any]] = field(default_factory=dict)
    config: str = ""
