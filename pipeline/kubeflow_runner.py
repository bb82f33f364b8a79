"""The DAG as a pipeline of Kubeflow Pipelines v2: compiled, completed, and checked for what its backend refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from kfp.pipeline_spec import pipeline_spec_pb2 as spec_pb2
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as tfx_runner

from lesions.errors import InputError
from lesions.files import write_text
from pipeline.config import Config
from pipeline.digests import ROOT, SCHEMA
from pipeline.kubeflow_settings import KubeflowSettings
from pipeline.pipeline import RunTime, create_pipeline

COMMAND = ["python", "-m", "pipeline.kubeflow_step"]
UNCACHED = "datasetvalidator"  # it looks into the data folder, of which the cache knows no more than the name
Spec = dict[str, Any]


def compile_pipeline(config: Config, output: Path) -> Spec:
    """Writes the pipeline of a configuration for Kubeflow: its specification and, behind it, its volume.

    Planes and folds are the configuration's; `data`, `epochs` and `batch_size` are the pipeline's parameters, with the
    configuration's values as defaults.

    Args:
        config: `data` and `root` as the steps see them, in the mounted volume.
        output: YAML file, as Kubeflow's page and client take it.

    Returns:
        The specification.

    Raises:
        InputError: The configuration says no image, or folders outside the volume.
    """
    settings = config.kubeflow
    _require_compilable(config)
    pipeline = create_pipeline(
        replace(config, workers=config.workers or max(1, int(settings.cpu))),
        data_digest="",
        schema_file=str(PurePosixPath(settings.home) / SCHEMA.relative_to(ROOT)),
        run_time=RunTime(
            data=RuntimeParameter("data", str, str(config.data)),
            epochs=RuntimeParameter("epochs", int, config.training.epochs),
            batch_size=RuntimeParameter("batch_size", int, config.training.batch_size),
        ),
    )
    images = {"default_image_path": settings.image}
    for node in pipeline.components:
        training = node.id.startswith("Trainer_")
        _give_resources(node, settings, training)
        if training and settings.trainer_image:
            images[node.id] = settings.trainer_image
    runner = tfx_runner.KubeflowV2DagRunner(
        tfx_runner.KubeflowV2DagRunnerConfig(
            default_image=images, default_commands=COMMAND, use_pipeline_spec_2_1=True
        )
    )
    spec = _completed(runner.run(pipeline, write_out=False)["pipelineSpec"], config)
    require_accepted(spec)
    write_text(output, yaml.safe_dump_all([spec, _platform(spec, settings)], sort_keys=True))
    return spec


def require_accepted(spec: Spec) -> None:
    """Raises InputError where open-source Kubeflow's backend would refuse the pipeline, with all reasons."""
    if reasons := list(_refused(spec)):
        raise InputError(f"the compiled pipeline: {'; '.join(reasons)}")


def _require_compilable(config: Config) -> None:
    settings = config.kubeflow
    if not settings.image:
        raise InputError(
            "kubeflow.image: none; give the pipeline's image with its digest, NAME@sha256:DIGEST"
        )
    for name in ("data", "root"):
        path = PurePosixPath(getattr(config, name))
        if PurePosixPath(settings.mount) not in path.parents:
            raise InputError(
                f"{name}: expected a folder in the steps' volume, {settings.mount}, found {path}; give an absolute path"
            )


def _give_resources(node: BaseNode, settings: KubeflowSettings, training: bool) -> None:
    resources = spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec(
        cpu_limit=settings.trainer_cpu if training else settings.cpu,
        memory_limit=settings.trainer_memory if training else settings.memory,
    )
    if training and settings.trainer_gpus:
        resources.accelerator.type, resources.accelerator.count = settings.accelerator, settings.trainer_gpus
    node.with_platform_config(resources)


def _completed(spec: Spec, config: Config) -> Spec:
    """The specification with what TFX's compiler leaves out, and names that Kubernetes takes."""
    named = _renamed(spec)
    named["defaultPipelineRoot"] = config.kubeflow.pipeline_root
    defaults = {
        "data": str(config.data),
        "epochs": config.training.epochs,
        "batch_size": config.training.batch_size,
    }
    for name, parameter in named["root"]["inputDefinitions"]["parameters"].items():
        parameter["defaultValue"] = defaults[name]
    del named["root"]["dag"]["tasks"][UNCACHED]["cachingOptions"]
    return named


def _renamed(spec: Spec) -> Spec:
    """Tasks, components and executors called trainer-axial-1, not Trainer_axial_1."""
    names = {*spec["root"]["dag"]["tasks"], *spec["components"], *spec["deploymentSpec"]["executors"]}
    short = {name: re.sub("[^a-z0-9]+", "-", name.lower()) for name in names}

    def renamed(part: Any, inside: str = "") -> Any:
        if isinstance(part, dict):
            keyed = inside in ("tasks", "components", "executors")
            return {short[k] if keyed else k: renamed(v, k) for k, v in part.items()}
        if isinstance(part, list):
            return (
                [short[one] for one in part] if inside == "dependentTasks" else [renamed(one) for one in part]
            )
        return short[part] if inside in ("producerTask", "executorLabel") else part

    whole = renamed(spec)
    for task in whole["root"]["dag"]["tasks"].values():
        task["componentRef"]["name"] = short[task["componentRef"]["name"]]
        task["taskInfo"]["name"] = short[task["taskInfo"]["name"]]
    return whole


def _refused(spec: Spec) -> Iterator[str]:
    for name, executor in spec["deploymentSpec"]["executors"].items():
        if "container" not in executor and "importer" not in executor:
            yield f"{name}: {', '.join(executor)} is not implemented there; make it a component of its own"
        elif "@sha256:" not in executor.get("container", {}).get("image", "@sha256:"):
            yield f"{name}: its image has no digest"
    for name, task in spec["root"]["dag"]["tasks"].items():
        if task["componentRef"]["name"] not in spec["components"]:
            yield f"{name}: its component is missing"
        if len(name) > 63 or not re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", name):
            yield f"{name}: not a name that Kubernetes takes"
    if not spec.get("defaultPipelineRoot", "").startswith(("gs://", "minio://", "s3://")):
        yield "its pipeline root is no object store"


def _platform(spec: Spec, settings: KubeflowSettings) -> Spec:
    """What Kubernetes adds to every step: the volume."""
    mount = {"pvcMount": [{"constant": settings.claim, "mountPath": settings.mount}]}
    executors = dict.fromkeys(spec["deploymentSpec"]["executors"], mount)
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
