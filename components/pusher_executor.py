"""The Pusher's executor: pushes as `lesions.push` does, whole or not at all, and never a version twice."""

import logging
from pathlib import Path
from typing import Any

from tfx.components.pusher import executor
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils
from tfx.utils import proto_utils

from lesions.progress import LOGGER
from lesions.push import push

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
