"""Artifact types; TYPE_NAME is an importable `package.Class` and there are no typed properties, as Kubeflow needs."""

from tfx.types.artifact import Artifact


class Manifest(Artifact):
    """manifest.json: see lesions.manifest."""

    TYPE_NAME = "components.Manifest"


class LesionTables(Artifact):
    """lesions_3d.csv, lesions_<plane>.csv, slices_<plane>.csv, grid.json: see lesions.statistics."""

    TYPE_NAME = "components.LesionTables"


class FoldMap(Artifact):
    """folds.csv (subject, fold; 0 = hold-out) and folds_quality.csv: see lesions.folds."""

    TYPE_NAME = "components.FoldMap"


class GateReport(Artifact):
    """anomalies.csv and drift.csv: see components.anomaly_gate."""

    TYPE_NAME = "components.GateReport"


class Selection(Artifact):
    """One plane's folds: selection.json, folds.csv, history_fold_<k>.csv, fold_<k>/: see components.fold_selector."""

    TYPE_NAME = "components.Selection"


class FusionEvaluation(Artifact):
    """Tables of the hold-out, and derivative/, its masks as a BIDS derivative: see components.fusion_evaluator.

    holdout, holdout_slices (.csv and .parquet): counts and scores per subject and prediction, and per slice.
    Derived from them: summary, scores, by_category, slice_summary, comparison. And calibration, uncertainty, files.
    """

    TYPE_NAME = "components.FusionEvaluation"


class ReleaseRecord(Artifact):
    """release.json: see components.release."""

    TYPE_NAME = "components.ReleaseRecord"


class Report(Artifact):
    """report.html: see reports.report."""

    TYPE_NAME = "components.Report"
