"""The Pusher's executor: stages a model, renames it, and never uses a version twice.

TFX's own copies in place, so that a server may load half a model, and two pushes within one second lose one
(tfx_stack.md, 3).
"""

import logging
import shutil
import time
from pathlib import Path
from typing import Any

from tfx.components.pusher import executor
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils
from tfx.utils import proto_utils

from lesions.progress import LOGGER

log = logging.getLogger(LOGGER)


class Executor(executor.Executor):
    """Pushes a blessed model into `<base>/<version>`, which TF Serving watches."""

    def Do(
        self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]
    ) -> None:
        """Pushes, or says why not."""
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties["push_destination"], destination)
        base = Path(destination.filesystem.base_directory)
        if not self.CheckBlessing(input_dict):
            log.warning("%s: nothing pushed, the models are not blessed", base.name)
            self._MarkNotPushed(pushed)
            return
        version = push(Path(self.GetModelPath(input_dict)), base)
        Path(pushed.uri).mkdir(parents=True, exist_ok=True)
        (Path(pushed.uri) / "pushed.txt").write_text(f"{base / str(version)}\n")
        self._MarkPushed(pushed, pushed_destination=str(base / str(version)), pushed_version=str(version))
        log.info("%s: pushed as version %d", base.name, version)


def push(model: Path, base: Path) -> int:
    """Copies a SavedModel to `<base>/<version>` at once: staged under a name no server reads, then renamed.

    Args:
        model: SavedModel folder.
        base: Folder of the plane's versions; made if missing.

    Returns:
        The version: seconds since 1970, or one more than the newest where that is taken.
    """
    base.mkdir(parents=True, exist_ok=True)
    taken = [int(path.name) for path in base.iterdir() if path.name.isdigit()]
    version = max([int(time.time()), *(number + 1 for number in taken)])
    staged = base / f".staged-{version}"
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(model, staged)
    staged.rename(base / str(version))
    return version
