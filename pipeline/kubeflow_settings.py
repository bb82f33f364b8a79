"""What a configuration says of Kubeflow: image, storage, and what a step may use."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from pydantic.dataclasses import dataclass

from lesions.settings import FORBID, require

DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}$")
ROOT = re.compile(r"(gs|minio|s3)://[^/\s]+(/\S*)?$")
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")


@dataclass(frozen=True, config=FORBID)  # type: ignore[call-overload]
class KubeflowSettings:
    """How `raxnet compile` makes a pipeline for Kubeflow Pipelines (docs/kubeflow.md).

    Attributes:
        image: Of every step, with its digest; empty: there is none, and nothing can be compiled.
        trainer_image: Of the trainings, where that is another one, with CUDA for example; empty: the same.
        home: Folder of this software in the images.
        pipeline_root: Where artifacts are kept: gs://, minio:// or s3://BUCKET/PATH, which Kubeflow brings to the step
            and back.
        claim: PersistentVolumeClaim with the data set; checkpoints and pushed models are written there too.
        mount: Folder in which every step sees it; the configuration's `data` and `root` lie in it.
        cpu: Processors of a step.
        memory: Of a step, in GB.
        trainer_cpu: Processors of a training.
        trainer_memory: Of a training, in GB.
        trainer_gpus: Of a training; 0: none.
        accelerator: The GPU's resource name.
    """

    image: str = ""
    trainer_image: str = ""
    home: str = "/opt/raxnet"
    pipeline_root: str = "minio://mlpipeline/v2/artifacts"
    claim: str = "raxnet"
    mount: str = "/raxnet"
    cpu: float = 4.0
    memory: float = 16.0
    trainer_cpu: float = 8.0
    trainer_memory: float = 32.0
    trainer_gpus: int = 1
    accelerator: str = "nvidia.com/gpu"

    def __post_init__(self) -> None:
        """Checks each value against its rule."""
        rule = "NAME@sha256:DIGEST, since a tag may mean another image tomorrow"
        for name in ("image", "trainer_image"):
            found = getattr(self, name)
            require(name, not found or DIGEST.match(found) is not None, rule, found)
        root = ROOT.match(self.pipeline_root) is not None
        require("pipeline_root", root, "gs://, minio:// or s3://BUCKET/PATH", self.pipeline_root)
        require("claim", NAME.match(self.claim) is not None, "the name of a claim", self.claim)
        for name in ("home", "mount"):
            path = PurePosixPath(getattr(self, name))
            require(name, path.is_absolute() and len(path.parts) > 1, "a folder such as /raxnet", str(path))
        for name in ("cpu", "memory", "trainer_cpu", "trainer_memory"):
            require(name, getattr(self, name) > 0, "above 0", getattr(self, name))
        require("trainer_gpus", self.trainer_gpus >= 0, "0 or more", self.trainer_gpus)
