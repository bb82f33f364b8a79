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

from components import artifacts
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
        gate: Comparisons between the folds.
        evaluation: The hold-out's scores and masks.
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
    holdout = pd.read_csv(fused / "holdout.csv")
    places, location_notes = _places(measured, metadata)
    released = json.loads((Path(release.uri) / "release.json").read_text())
    chosen = {
        p: json.loads((folder / "selection.json").read_text())["fold"] for p, folder in selections.items()
    }
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
        anomalies=pd.read_csv(Path(gate.uri) / "drift.csv"),
        trainings=[training for p, folder in selections.items() for training in _trainings(p, folder)],
        slice_metrics=pd.concat([_fold_table(p, folder, "summary.csv") for p, folder in selections.items()]),
        holdout=holdout,
        gates=pd.concat(
            [pd.read_csv(fused / "gates.csv")]
            + [_fold_table(p, f, "gates.csv") for p, f in selections.items()]
        ),
        models=_models(released, chosen),
        release=released if released["released"] else None,
        pictures=_pictures(holdout),
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


def _trained_subjects(folds: pd.DataFrame, chosen: dict[str, int]) -> int:
    """Subjects behind the fewest-trained plane: all but the hold-out and the plane's validation fold."""
    return min(int((~folds["fold"].isin([0, fold])).sum()) for fold in chosen.values())


def _dataset(known: ManifestContent, folds: pd.DataFrame) -> dict[str, Any]:
    errors = {finding.subject for finding in known.findings if finding.severity == "error"}
    return {
        "name": known.name,
        "layout": known.layout,
        "grid": " x ".join(map(str, known.grid.shape)) + f", {known.grid.spacing[0]:g} mm",
        "subjects used": len(known.scans),
        "in the hold-out": int((folds["fold"] == 0).sum()),
        "put aside": len(errors),
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


def _fold_table(plane: str, folder: Path, name: str) -> pd.DataFrame:
    parts = []
    for path in sorted(folder.glob(f"fold_*/{name}")):
        table = pd.read_csv(path)
        if name == "summary.csv":
            table.insert(0, "fold", int(path.parent.name.rsplit("_", 1)[1]))
            table.insert(0, "plane", plane)
        parts.append(table)
    return pd.concat(parts)


def _models(released: dict[str, Any], chosen: dict[str, int]) -> pd.DataFrame:
    models = released.get("models", {})
    rows = [
        {
            "plane": plane,
            "fold": fold,
            "pushed": plane in models,
            "version": models.get(plane, {}).get("version"),
            "trained on": models.get(plane, {}).get("statement", "not pushed"),
        }
        for plane, fold in chosen.items()
    ]
    return pd.DataFrame(rows)


def _pictures(holdout: pd.DataFrame) -> list[Picture]:
    fused = holdout[holdout["prediction"] == "fused"]
    return [
        Picture(row.subject, Path(row.image), Path(row.truth), Path(row.mask), float(row.dice))
        for row in fused.itertuples()
    ]


def _facts() -> dict[str, Any]:
    return {
        "written": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "device": describe(),
        "Python": platform.python_version(),
    } | {"packages": {package: metadata.version(package) for package in PACKAGES}}
