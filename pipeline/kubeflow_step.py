"""What a step of the compiled pipeline runs: TFX's container entry point, on files.

Kubeflow's launcher has brought a step's inputs from the object store to folders and takes its outputs from there
(gs://BUCKET/x is /gcs/BUCKET/x), but it tells the step the store's addresses. TFX would open those itself, and knows
no minio:// and no s3://. So the step is told the folders, and what it says of them is turned back.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags

from common import machine

INVOCATION = "--json_serialized_invocation_args"
STORES = {"gs://": "gcs/", "minio://": "minio/", "s3://": "s3/"}  # as the launcher has them


def local_path(uri: str) -> str:
    """The folder in which Kubeflow's launcher keeps an artifact; other addresses stay as they are.

    Args:
        uri: For example minio://mlpipeline/v2/artifacts/x.
    """
    for scheme, folder in STORES.items():
        if uri.startswith(scheme):
            base = os.environ.get("ARTIFACT_LOCAL_PATH", "")  # the launcher's own variable
            return f"{base}/{folder}{uri.removeprefix(scheme)}"
    return uri


def main(arguments: list[str]) -> None:
    """Runs TFX's entry point with local folders for addresses.

    Args:
        arguments: As the compiled pipeline has them, after the program's name.
    """
    machine.limit_threads()
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor as entry_point

    at = arguments.index(INVOCATION) + 1
    invocation = json.loads(arguments[at])
    addresses = {}
    for artifact in _artifacts(invocation.get("inputs", {}), invocation.get("outputs", {})):
        path = local_path(artifact["uri"])
        addresses[path], artifact["uri"] = artifact["uri"], path
    for artifact in _artifacts(invocation.get("outputs", {})):
        Path(artifact["uri"]).parent.mkdir(parents=True, exist_ok=True)
    told = [*arguments[:at], json.dumps(invocation), *arguments[at + 1 :]]
    entry_point.main(entry_point._parse_flags([sys.argv[0], *told]))
    _turn_back(Path(invocation["outputs"]["outputFile"]), addresses)


def _artifacts(*sides: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for side in sides:
        for listed in side.get("artifacts", {}).values():
            yield from listed.get("artifacts", [])


def _turn_back(output_file: Path, addresses: dict[str, str]) -> None:
    """Writes the store's addresses again into what the step says of its outputs."""
    content = json.loads(output_file.read_text())
    for artifact in _artifacts(content):
        artifact["uri"] = addresses.get(artifact["uri"], artifact["uri"])
    output_file.write_text(json.dumps(content))


if __name__ == "__main__":
    flags.FLAGS(sys.argv[:1])  # absl's logging wants them read
    main(sys.argv[1:])
