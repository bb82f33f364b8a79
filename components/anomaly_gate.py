"""AnomalyGate: stops the run where the records break the schema or the folds differ.

ExampleValidator finds anomalies but lets the run go on, and ignores drift; so this component reads its findings
and compares every pair of folds itself (docs/spec/tfx_stack.md#validation-and-drift).
"""

import logging
from itertools import combinations
from pathlib import Path

import pandas as pd
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import ExampleAnomalies, ExampleStatistics, Schema

from components import artifacts
from lesions.errors import WorkError
from lesions.files import write_csv
from lesions.progress import LOGGER

DRIFT_FEATURE = "size_category"
COLUMNS = ["plane", "fold", "feature", "problem"]  # problem: "" where there is none
MEND = {
    True: "split anew (another split.seed, fewer folds), or raise gates.fold_drift",
    False: "mend the scan or mask behind it and run the ingest again, or widen its domain in schema/schema.pbtxt",
}
MOST_SAID = 20  # findings on the terminal

log = logging.getLogger(LOGGER)


@component
def AnomalyGate(
    schema: InputArtifact[Schema],
    statistics_axial: InputArtifact[ExampleStatistics],
    statistics_sagittal: InputArtifact[ExampleStatistics],
    statistics_coronal: InputArtifact[ExampleStatistics],
    anomalies_axial: InputArtifact[ExampleAnomalies],
    anomalies_sagittal: InputArtifact[ExampleAnomalies],
    anomalies_coronal: InputArtifact[ExampleAnomalies],
    report: OutputArtifact[artifacts.GateReport],
    fold_drift: Parameter[float],
    code: Parameter[str],
) -> None:
    """Raises on any anomaly, and on size categories that differ between two folds.

    Args:
        schema: The curated one.
        statistics_axial: Of each fold; likewise the other planes.
        statistics_sagittal: See above.
        statistics_coronal: See above.
        anomalies_axial: ExampleValidator's; likewise the other planes.
        anomalies_sagittal: See above.
        anomalies_coronal: See above.
        report: Written: anomalies.csv, what each fold was found to be, and drift.csv, the comparisons made.
        fold_drift: Largest Jensen-Shannon divergence of the size categories.
        code: Digest of the code that does this.
    """
    statistics = {"axial": statistics_axial, "sagittal": statistics_sagittal, "coronal": statistics_coronal}
    anomalies = {"axial": anomalies_axial, "sagittal": anomalies_sagittal, "coronal": anomalies_coronal}
    anomaly = pd.concat([read_anomalies(Path(a.uri), plane) for plane, a in anomalies.items()])
    drift = pd.concat(
        [
            fold_drifts(Path(s.uri), plane, read_schema(Path(schema.uri)), fold_drift)
            for plane, s in statistics.items()
        ]
    )
    stop_at(anomaly, drift)
    write_csv(Path(report.uri) / "anomalies.csv", anomaly)
    write_csv(Path(report.uri) / "drift.csv", drift)


def stop_at(anomaly: pd.DataFrame, drift: pd.DataFrame) -> None:
    """Says every finding, and stops at the first.

    Args:
        anomaly: As `read_anomalies` gives it.
        drift: As `fold_drifts` gives it.

    Raises:
        WorkError: There is a finding; names plane, fold and feature, and what to do.
    """
    found = pd.concat([anomaly[COLUMNS].assign(drift=False), drift[COLUMNS].assign(drift=True)])
    found = found[found["problem"] != ""]
    for row in found.head(MOST_SAID).itertuples():
        log.warning("%s, %s: %s: %s", row.plane, row.fold, row.feature, row.problem)
    if len(found):
        first = found.iloc[0]
        raise WorkError(
            f"records, {first['plane']}, {first['fold']}: {first['feature']}: {first['problem']}; "
            f"{MEND[bool(first['drift'])]} (findings: {len(found)}; training does not start)"
        )


def _splits(folder: Path) -> list[str]:
    return sorted(path.name.removeprefix("Split-") for path in folder.glob("Split-*"))


def read_schema(folder: Path) -> schema_pb2.Schema:
    """The schema of an artifact folder."""
    return tfdv.load_schema_text(str(folder / "schema.pbtxt"))


def read_anomalies(folder: Path, plane: str) -> pd.DataFrame:
    """ExampleValidator's findings as rows of plane, fold, feature, problem; a fold without any is a row too."""
    rows = []
    for split in _splits(folder):
        found = anomalies_pb2.Anomalies.FromString((folder / f"Split-{split}" / "SchemaDiff.pb").read_bytes())
        rows += _rows(found, plane, split) or [_row(plane, split, "(all)", "")]
    return pd.DataFrame(rows, columns=COLUMNS)


def fold_drifts(folder: Path, plane: str, schema: schema_pb2.Schema, limit: float) -> pd.DataFrame:
    """Compares the size categories of every pair of folds.

    Args:
        folder: ExampleStatistics artifact.
        plane: For the table.
        schema: Its drift comparator is set here.
        limit: Largest Jensen-Shannon divergence.

    Returns:
        plane, fold, feature, problem ("" where there is none), divergence, limit.
    """
    feature = tfdv.get_feature(schema, DRIFT_FEATURE)
    feature.drift_comparator.jensen_shannon_divergence.threshold = limit
    loaded = {split: _statistics(folder, split) for split in _splits(folder)}
    rows = []
    for one, other in combinations(loaded, 2):
        found = tfdv.validate_statistics(loaded[other], schema, previous_statistics=loaded[one])
        measured = [m.value for info in found.drift_skew_info for m in info.drift_measurements]
        drifted = [row for row in _rows(found, plane, other) if row["feature"] == DRIFT_FEATURE]
        problem = f"differs between {one} and {other}: {drifted[0]['problem']}" if drifted else ""
        if not measured:
            problem = "could not be compared"
        row = _row(plane, f"{one} and {other}", DRIFT_FEATURE, problem)
        rows.append(row | {"divergence": max(measured, default=float("nan")), "limit": limit})
    return pd.DataFrame(rows, columns=[*COLUMNS, "divergence", "limit"])


def _statistics(folder: Path, split: str) -> statistics_pb2.DatasetFeatureStatisticsList:
    return tfdv.load_stats_binary(str(folder / f"Split-{split}" / "FeatureStats.pb"))


def _rows(found: anomalies_pb2.Anomalies, plane: str, split: str) -> list[dict[str, str]]:
    rows = [
        _row(plane, split, name, info.description or info.short_description)
        for name, info in found.anomaly_info.items()
    ]
    if found.HasField("dataset_anomaly_info"):
        rows.append(_row(plane, split, "(all)", found.dataset_anomaly_info.description))
    return rows


def _row(plane: str, fold: str, feature: str, problem: str) -> dict[str, str]:
    return {"plane": plane, "fold": fold, "feature": feature, "problem": " ".join(problem.split())}
