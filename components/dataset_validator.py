"""DatasetValidator: lists and checks the data folder; the only component that does."""

from pathlib import Path

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component

from components import artifacts
from lesions.checks import check_dataset
from lesions.dataset import discover
from lesions.errors import InputError
from lesions.manifest import Manifest
from lesions.progress import LOGGER, to_log


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
        data_digest: Of its files, computed by the runner: it makes a change of the data known to TFX's cache.
        workers: Processes.
        strict: 1 stops at the first error found, 0 puts the file aside, says so, and goes on.
        code: Digest of the code that does this.
    """
    import logging

    dataset = discover(Path(data))
    checked = check_dataset(dataset, workers=workers, progress=to_log("checking every scan and mask"))
    errors = [finding for finding in checked.findings if finding.severity == "error"]
    for finding in errors:
        logging.getLogger(LOGGER).warning(
            "put aside: %s: %s; %s", finding.file, finding.problem, finding.remedy
        )
    if errors and strict:
        raise InputError(
            f"{data}: {len(errors)} files with errors, and strict is set; see `raxnet check {data}`"
        )
    Manifest(
        name=dataset.name,
        phantom=dataset.phantom,
        layout=dataset.layout,
        digest=data_digest,
        grid=checked.grid,
        scans=checked.usable,
        without_mask=tuple(scan.subject for scan in dataset.scans if scan.mask is None),
        findings=checked.findings,
    ).write(Path(manifest.uri))
