"""DatasetValidator: lists and checks the data folder; the only component that does."""

from pathlib import Path

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component

from components import artifacts
from lesions.checks import check_dataset
from lesions.dataset import digest, discover
from lesions.manifest import Manifest
from lesions.progress import to_log


@component
def DatasetValidator(
    manifest: OutputArtifact[artifacts.Manifest],
    data: Parameter[str],
    data_digest: Parameter[str],
    workers: Parameter[int],
    strict: Parameter[int],
    code: Parameter[str],
) -> None:
    """Writes the manifest of a data set: what is usable, and what is wrong with the rest.

    Args:
        manifest: Written.
        data: The data folder.
        data_digest: Of its files, computed by the runner: it makes a change of the data known to TFX's cache. Empty
            where the runner does not see the data: then it is computed here.
        workers: Processes.
        strict: 1 stops where anything is to be put aside or doubtful, 0 says so and goes on.
        code: Digest of the code that does this.
    """
    dataset = discover(Path(data))
    progress = to_log("checking every scan and mask")
    checked = check_dataset(dataset, workers, progress, bool(strict))
    Manifest(
        name=dataset.name,
        phantom=dataset.phantom,
        layout=dataset.layout,
        digest=data_digest or digest(dataset),
        grid=checked.grid,
        scans=checked.usable,
        without_mask=tuple(scan.subject for scan in dataset.scans if scan.mask is None),
        findings=checked.findings,
    ).write(Path(manifest.uri))
