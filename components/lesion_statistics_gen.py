"""LesionStatisticsGen: lesion tables of every usable subject."""

from dataclasses import replace
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component

from components import artifacts
from lesions.manifest import read_manifest
from lesions.progress import to_log
from lesions.statistics import compute_tables


@component
def LesionStatisticsGen(
    manifest: InputArtifact[artifacts.Manifest],
    tables: OutputArtifact[artifacts.LesionTables],
    workers: Parameter[int],
    code: Parameter[str],
) -> None:
    """Measures every lesion in 3-D and in the slices of three planes, and where it lies, by anatomy.

    A metadata sheet is read by ReportGen: another sheet must not train anything anew.

    Args:
        manifest: What to read.
        tables: Written.
        workers: Processes.
        code: Digest of the code that does this.
    """
    known = read_manifest(Path(manifest.uri))
    found = compute_tables(known.scans, workers=workers, progress=to_log("measuring lesions"))
    replace(found, dataset=known.name, phantom=known.phantom).write(Path(tables.uri))
