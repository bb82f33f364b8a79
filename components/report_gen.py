"""ReportGen: one HTML page of the whole run."""

import json
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Model, ModelBlessing

from components import artifacts
from components.report_content import Folders, gather
from lesions.slices import PLANES
from reports.report import PAGE, write_report


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
    versions: Parameter[str],
    metadata: Parameter[str] = "",
    metadata_digest: Parameter[str] = "",
    comparisons: Parameter[str] = "",
    comparisons_digest: Parameter[str] = "",
    selection_axial: InputArtifact[artifacts.Selection] = None,
    selection_sagittal: InputArtifact[artifacts.Selection] = None,
    selection_coronal: InputArtifact[artifacts.Selection] = None,
    model_axial: InputArtifact[Model] = None,
    model_sagittal: InputArtifact[Model] = None,
    model_coronal: InputArtifact[Model] = None,
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
        versions: JSON: component -> digest of its code, for the page.
        metadata: The data set's metadata sheet; empty where there is none.
        metadata_digest: Of its content: TFX's cache sees the path alone.
        comparisons: Where `raxnet compare` leaves what it finds.
        comparisons_digest: Of that, for the same reason.
        selection_axial: Histories and slice metrics; likewise the other planes, those that are trained.
        selection_sagittal: See above.
        selection_coronal: See above.
        model_axial: Chosen model, whose card says what it was trained on; likewise the other planes.
        model_sagittal: See above.
        model_coronal: See above.
    """
    selections = dict(zip(PLANES, (selection_axial, selection_sagittal, selection_coronal), strict=True))
    models = dict(zip(PLANES, (model_axial, model_sagittal, model_coronal), strict=True))
    folders = Folders(
        manifest=Path(manifest.uri),
        tables=Path(tables.uri),
        fold_map=Path(fold_map.uri),
        gate=Path(gate.uri),
        evaluation=Path(evaluation.uri),
        blessing=Path(blessing.uri),
        release=Path(release.uri),
        selections={plane: Path(a.uri) for plane, a in selections.items() if a is not None},
        models={plane: Path(a.uri) for plane, a in models.items() if a is not None},
    )
    content = gather(folders, configuration, metadata, json.loads(versions), Path(comparisons))
    write_report(content, Path(report.uri) / PAGE)
