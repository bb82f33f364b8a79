"""ReportGen: one HTML page of the whole run."""

import json
import platform
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import ModelBlessing

from components import artifacts
from components.blesser import GATES
from components.fold_selector import read_selection
from components.fusion_evaluator import DERIVATIVE
from components.slice_evaluator import COLUMNS, SUMMARY
from lesions.checks import put_aside
from lesions.files import read_table
from lesions.manifest import Manifest as ManifestContent
from lesions.manifest import read_manifest
from lesions.metadata import read_sheet
from lesions.places import with_sheet
from lesions.provenance import statement
from lesions.slices import PLANES
from lesions.statistics import Tables, read_tables
from reports.content import Picture, RunReport, Training
from reports.report import write_report
from serving.device import describe

PACKAGES = (
    "raxnet-pipeline",
    "tfx",
    "tensorflow",
    "keras",
    "apache-beam",
    "numpy",
    "pandas",
    "scipy",
    "nibabel",
)


@component
def ReportGen(
    manifest: InputArtifact[artifacts.Manifest],
    tables: InputArtifact[artifacts.LesionTables],
    fold_map: InputArtifact[artifacts.FoldMap],
    gate: InputArtifact[artifacts.GateReport],
    evaluation: InputArtifact[artifacts.FusionEvaluation],
    blessing: InputArtifact[ModelBlessing],
    release: InputArtifact[artifacts.ReleaseRecord],
    report: OutputArtifact[artifacts.Report],
    configuration: Parameter[str],
    code: Parameter[str],
    metadata: Parameter[str] = "",
    metadata_digest: Parameter[str] = "",
    selection_axial: InputArtifact[artifacts.Selection] = None,
    selection_sagittal: InputArtifact[artifacts.Selection] = None,
    selection_coronal: InputArtifact[artifacts.Selection] = None,
) -> None:
    """Gathers what the run left and writes report.html.

    Args:
        manifest: Data set and findings.
        tables: Lesion tables.
        fold_map: Hold-out and folds.
        gate: Checks of the folds and comparisons between them.
        evaluation: The hold-out's scores and masks.
        blessing: The gates.
        release: What was released.
        report: Written: report.html.
        configuration: YAML text.
        code: Digest of the code that does this.
        metadata: The data set's metadata sheet; empty where there is none.
        metadata_digest: Of its content: TFX's cache sees the path alone.
        selection_axial: Histories and slice metrics; likewise the other planes, those that are trained.
        selection_sagittal: See above.
        selection_coronal: See above.
    """
    given = dict(zip(PLANES, (selection_axial, selection_sagittal, selection_coronal), strict=True))
    selections = {plane: Path(artifact.uri) for plane, artifact in given.items() if artifact is not None}
    known, fused, folds = read_manifest(Path(manifest.uri)), Path(evaluation.uri), Path(fold_map.uri)
    measured, frame = read_tables(Path(tables.uri)), pd.read_csv(folds / "folds.csv")
    holdout = read_table(fused / "holdout.csv")
    places, location_notes = _places(measured, metadata)
    released = json.loads((Path(release.uri) / "release.json").read_text())
    chosen = {plane: read_selection(folder)["members"] for plane, folder in selections.items()}
    content = RunReport(
        title=f"RAX-Net run on {known.name}",
        statement=statement(known.name, _trained_subjects(frame, chosen), known.phantom),
        phantom=known.phantom,
        dataset=_dataset(known, frame),
        findings=pd.DataFrame([vars(finding) for finding in known.findings]),
        grid=known.grid,
        tables_3d=measured.lesions_3d,
        tables_plane=measured.planes,
        locations=places,
        location_notes=location_notes,
        frequency=measured.frequency,
        folds=frame,
        quality=pd.read_csv(folds / "folds_quality.csv"),
        anomalies=pd.concat([pd.read_csv(Path(gate.uri) / name) for name in ("anomalies.csv", "drift.csv")]),
        trainings=[training for p, folder in selections.items() for training in _trainings(p, folder)],
        slice_metrics=pd.concat([_slice_metrics(p, folder) for p, folder in selections.items()]),
        holdout=holdout,
        gates=pd.read_csv(Path(blessing.uri) / GATES),
        models=_models(released, chosen),
        release=released if released["released"] else None,
        pictures=_pictures(holdout, fused),
        run=_facts(),
        config=configuration,
    )
    write_report(content, Path(report.uri) / "report.html")


def _places(measured: Tables, metadata: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Shares of the places, and what is to be known of the metadata sheet."""
    if measured.locations is None:
        return pd.DataFrame(), ()
    if not metadata:
        return measured.locations.summary(), ("No metadata sheet: all locations are approximate.",)
    counts, notes = read_sheet(metadata).match(measured.lesions_3d["subject"])
    said = f"Metadata sheet {Path(metadata).name}: {'; '.join(notes)}."
    return with_sheet(measured.locations, counts).summary(), (said,)


def _trained_subjects(folds: pd.DataFrame, chosen: dict[str, list[int]]) -> int:
    """Subjects behind the fewest-trained plane: all but the hold-out and, of a single model, its validation fold."""
    apart = [{0, *members} if len(members) == 1 else {0} for members in chosen.values()]
    return min(int((~folds["fold"].isin(left_out)).sum()) for left_out in apart)


def _dataset(known: ManifestContent, folds: pd.DataFrame) -> dict[str, Any]:
    return {
        "name": known.name,
        "layout": known.layout,
        "grid": " x ".join(map(str, known.grid.shape)) + f", {known.grid.spacing[0]:g} mm",
        "subjects used": len(known.scans),
        "in the hold-out": int((folds["fold"] == 0).sum()),
        "scans put aside": len(put_aside(known.findings)),
        "without a mask, not used": len(known.without_mask),
        "digest": known.digest[:16],
    }


def _trainings(plane: str, folder: Path) -> list[Training]:
    out = []
    for path in sorted(folder.glob("history_fold_*.csv")):
        history = pd.read_csv(path)
        best = int(history.loc[history["val_loss"].idxmin(), "epoch"])
        out.append(Training(plane, int(path.stem.rsplit("_", 1)[1]), history, best))
    return out


def _slice_metrics(plane: str, folder: Path) -> pd.DataFrame:
    """plane, fold, protocol, n, dice, recall, precision, ...: a row per fold and protocol."""
    rows = []
    for path in sorted(folder.glob(f"fold_*/{SUMMARY}")):
        table = pd.read_csv(path).set_index("metric")
        for prefix, (protocol, _) in COLUMNS.items():
            row = {"plane": plane, "fold": int(path.parent.name.rsplit("_", 1)[1]), "protocol": protocol}
            row["n"] = int(table.loc["dice", f"{prefix}_n"])
            row |= {metric: table.loc[metric, f"{prefix}_mean"] for metric in table.index}
            row |= {
                f"dice_{name}": table.loc["dice", f"{prefix}_{column}"]
                for name, column in (("sd", "sd_population"), ("median", "median"))
            }
            rows.append(row | {"floor": table.loc["dice", f"{prefix}_floor"]})
    return pd.DataFrame(rows)


def _models(released: dict[str, Any], chosen: dict[str, list[int]]) -> pd.DataFrame:
    models = released.get("models", {})
    rows = [
        {
            "plane": plane,
            "fold": ", ".join(map(str, members)),
            "pushed": plane in models,
            "version": models.get(plane, {}).get("version"),
            "trained on": models.get(plane, {}).get("statement", "not pushed"),
        }
        for plane, members in chosen.items()
    ]
    return pd.DataFrame(rows)


def _pictures(holdout: pd.DataFrame, evaluation: Path) -> list[Picture]:
    files = read_table(evaluation / "files.csv")
    shown = holdout[holdout["prediction"] == "fused"].merge(files, on="subject")
    return [
        Picture(
            row.subject,
            Path(row.image),
            Path(row.truth),
            evaluation / DERIVATIVE / row.mask,
            float(row.dice),
        )
        for row in shown.itertuples()
    ]


def _facts() -> dict[str, Any]:
    return {
        "written": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "device": describe(),
        "Python": platform.python_version(),
    } | {"packages": {package: metadata.version(package) for package in PACKAGES}}
