"""AnomalyGate: stops the run where the records break the schema or the folds differ.

ExampleValidator finds anomalies but lets the run go on, and ignores drift; so this component reads its findings
and compares every pair of folds itself (tfx_stack.md, 3).
"""

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

DRIFT_FEATURE = "size_category"
COLUMNS = ["plane", "fold", "feature", "problem"]


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
        report: Written: drift.csv, the comparisons made.
        fold_drift: Largest Jensen-Shannon divergence of the size categories.
        code: Digest of the code that does this.
    """
    statistics = {"axial": statistics_axial, "sagittal": statistics_sagittal, "coronal": statistics_coronal}
    anomalies = {"axial": anomalies_axial, "sagittal": anomalies_sagittal, "coronal": anomalies_coronal}
    problems = pd.concat([read_anomalies(Path(a.uri), plane) for plane, a in anomalies.items()])
    drifts = [
        fold_drifts(Path(s.uri), plane, read_schema(Path(schema.uri)), fold_drift)
        for plane, s in statistics.items()
    ]
    drift = pd.concat(drifts)
    found = pd.concat([problems, drift[drift["problem"] != ""][COLUMNS]])
    if len(found):
        first = found.iloc[0]
        raise WorkError(
            f"records, {first['plane']}, {first['fold']}: {first['feature']}: {first['problem']} "
            f"({len(found)} findings in all); training does not start: mend the data, or gates.fold_drift"
        )
    drift.to_csv(_made(Path(report.uri)) / "drift.csv", index=False)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _splits(folder: Path) -> list[str]:
    return sorted(path.name.removeprefix("Split-") for path in folder.glob("Split-*"))


def read_schema(folder: Path) -> schema_pb2.Schema:
    """The schema of an artifact folder."""
    return tfdv.load_schema_text(str(folder / "schema.pbtxt"))


def read_anomalies(folder: Path, plane: str) -> pd.DataFrame:
    """ExampleValidator's findings as rows of plane, fold, feature, problem."""
    rows = []
    for split in _splits(folder):
        found = anomalies_pb2.Anomalies.FromString((folder / f"Split-{split}" / "SchemaDiff.pb").read_bytes())
        rows += _rows(found, plane, split)
    return pd.DataFrame(rows, columns=COLUMNS)


def fold_drifts(folder: Path, plane: str, schema: schema_pb2.Schema, limit: float) -> pd.DataFrame:
    """Compares the size categories of every pair of folds.

    Args:
        folder: ExampleStatistics artifact.
        plane: For the table.
        schema: Its drift comparator is set here.
        limit: Largest Jensen-Shannon divergence.

    Returns:
        plane, fold, feature, divergence, limit, problem ("" where there is none).
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
        value = max(measured, default=float("nan"))
        rows.append(
            {
                "plane": plane,
                "fold": f"{one} and {other}",
                "feature": DRIFT_FEATURE,
                "divergence": value,
                "limit": limit,
                "problem": problem,
            }
        )
    return pd.DataFrame(rows)


def _statistics(folder: Path, split: str) -> statistics_pb2.DatasetFeatureStatisticsList:
    return tfdv.load_stats_binary(str(folder / f"Split-{split}" / "FeatureStats.pb"))


def _rows(found: anomalies_pb2.Anomalies, plane: str, split: str) -> list[dict[str, str]]:
    rows = [
        {
            "plane": plane,
            "fold": split,
            "feature": name,
            "problem": info.description or info.short_description,
        }
        for name, info in found.anomaly_info.items()
    ]
    if found.HasField("dataset_anomaly_info"):
        text = found.dataset_anomaly_info.description
        rows.append({"plane": plane, "fold": split, "feature": "(all)", "problem": text})
    return rows
