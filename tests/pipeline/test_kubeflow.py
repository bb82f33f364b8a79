"""What `raxnet compile` writes, refuses and says."""

import copy
import json
from pathlib import Path

import kfp.components
import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from lesions.errors import InputError
from lesions.slices import PLANES
from pipeline import config as configuration
from pipeline import kubeflow_runner, kubeflow_step

IMAGE = "example.org/raxnet-pipeline@sha256:" + "0" * 64
CUDA = "example.org/raxnet-pipeline-cuda@sha256:" + "1" * 64


def write(folder, **changes):
    kubeflow = {"image": IMAGE} | changes.pop("kubeflow", {})
    content = {"data": "/raxnet/data", "root": "/raxnet/run", "kubeflow": kubeflow} | changes
    (folder / "run.yaml").write_text(yaml.safe_dump(content))
    return configuration.load(folder / "run.yaml")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two planes, two folds: specification and platform."""
    folder = tmp_path_factory.mktemp("compiled")
    config = write(
        folder,
        planes=["coronal", "axial"],
        train_folds=[2, 1],
        training={"epochs": 7, "batch_size": 12},
        kubeflow={"trainer_image": CUDA, "trainer_gpus": 2, "trainer_cpu": 6, "memory": 12},
    )
    kubeflow_runner.compile_pipeline(config, folder / "out/pipeline.yaml")
    return list(yaml.safe_load_all((folder / "out/pipeline.yaml").read_text()))


def test_it_is_a_specification_that_kubeflow_loads(written, tmp_path):
    spec, _ = written
    parsed = json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    assert parsed.schema_version == "2.1.0"
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    inputs = kfp.components.load_component_from_file(str(tmp_path / "spec.yaml")).component_spec.inputs
    assert {name: one.default for name, one in inputs.items()} == {
        "data": "/raxnet/data",
        "epochs": 7,
        "batch_size": 12,
    }


def test_planes_and_folds_are_those_of_the_configuration(written):
    tasks = written[0]["root"]["dag"]["tasks"]
    trainers = {name for name in tasks if name.startswith("trainer-")}
    assert trainers == {f"trainer-{plane}-{fold}" for plane in ("axial", "coronal") for fold in (1, 2)}
    assert {f"pusher-{plane}" for plane in PLANES} & set(tasks) == {"pusher-axial", "pusher-coronal"}
    for name in trainers:
        assert {"anomalygate", "hyperparametersgen"} <= set(tasks[name]["dependentTasks"])


def test_parameters_reach_the_steps_that_use_them(written):
    tasks = written[0]["root"]["dag"]["tasks"]
    reads = {
        (name, parameter)
        for name, task in tasks.items()
        for one in task.get("inputs", {}).get("parameters", {}).values()
        if (parameter := one.get("componentInputParameter"))
    }
    assert reads == {
        ("datasetvalidator", "data"),
        ("fusionevaluator", "data"),
        ("hyperparametersgen", "epochs"),
        ("hyperparametersgen", "batch_size"),
    }


def test_images_resources_and_volume_of_every_step(written):
    spec, platform = written
    executors = spec["deploymentSpec"]["executors"]
    mounts = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(mounts) == set(executors)
    assert all(
        one == {"pvcMount": [{"constant": "raxnet", "mountPath": "/raxnet"}]} for one in mounts.values()
    )
    for name, executor in executors.items():
        container, training = executor["container"], name.startswith("trainer-")
        assert container["command"] == ["python", "-m", "pipeline.kubeflow_step"]
        assert container["image"] == (CUDA if training else IMAGE)
        assert container["resources"]["cpuLimit"] == (6 if training else 4)
        assert container["resources"]["memoryLimit"] == (32 if training else 12)
        gpus = {"type": "nvidia.com/gpu", "count": "2"}
        assert container["resources"].get("accelerator") == (gpus if training else None)


def test_the_step_that_looks_at_the_data_is_never_taken_from_the_cache(written):
    tasks = written[0]["root"]["dag"]["tasks"]
    uncached = {name for name, task in tasks.items() if not task.get("cachingOptions", {}).get("enableCache")}
    assert uncached == {"datasetvalidator"}


def test_no_folder_of_this_machine_is_compiled_in(written):
    here = Path(kubeflow_runner.__file__).parents[1]
    if here in {Path("/raxnet"), Path("/opt/raxnet")}:
        pytest.skip("this tree lies where the image has it, or its data")
    assert str(here) not in json.dumps(written)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda s: s["deploymentSpec"]["executors"].update(bad={"resolver": {}}),
            "bad: resolver is not implemented",
        ),
        (lambda s: _container(s).update(image="raxnet:latest"), "its image has no digest"),
        (
            lambda s: s["root"]["dag"]["tasks"].update(Bad_Name=s["root"]["dag"]["tasks"]["foldgen"]),
            "not a name",
        ),
        (lambda s: s["components"].pop("foldgen"), "foldgen: its component is missing"),
        (lambda s: s.update(defaultPipelineRoot="/mnt/raxnet"), "no object store"),
    ],
)
def test_what_kubeflows_backend_refuses_is_found_before(written, change, said):
    spec = copy.deepcopy(written[0])
    kubeflow_runner.require_accepted(spec)
    change(spec)
    with pytest.raises(InputError, match=said):
        kubeflow_runner.require_accepted(spec)


def _container(spec):
    return next(iter(spec["deploymentSpec"]["executors"].values()))["container"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kubeflow": {"image": "raxnet:latest"}}, "kubeflow: image must be NAME@sha256:DIGEST"),
        ({"kubeflow": {"pipeline_root": "/mnt/x"}}, "pipeline_root must be gs://, minio:// or s3://"),
        ({"kubeflow": {"claim": "No Name"}}, "claim must be"),
        ({"kubeflow": {"mount": "raxnet"}}, "mount must be"),
        ({"kubeflow": {"trainer_gpus": -1}}, "trainer_gpus must be 0 or more"),
        ({"kubeflow": {"gpu": 1}}, "no such setting"),
    ],
)
def test_bad_settings_are_refused(tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        write(tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kubeflow": {"image": ""}}, "kubeflow.image: none"),
        ({"data": "/elsewhere/data"}, "data: expected a folder in the steps' volume, /raxnet"),
        ({"root": "run"}, "root: expected a folder in the steps' volume"),
    ],
)
def test_what_cannot_be_compiled_is_refused_and_writes_nothing(tmp_path, changes, said):
    config = write(tmp_path, **changes)
    with pytest.raises(InputError, match=said):
        kubeflow_runner.compile_pipeline(config, tmp_path / "pipeline.yaml")
    assert not (tmp_path / "pipeline.yaml").exists()


def test_a_step_limits_its_threads_to_its_pods_processors_before_anything_else(monkeypatch):
    class LimitedError(Exception):
        """In place of the limit: nothing may have happened before."""

    def limit():
        raise LimitedError

    monkeypatch.setattr(kubeflow_step.machine, "limit_threads", limit)
    with pytest.raises(LimitedError):
        kubeflow_step.main([])


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("gs://bucket/a/b", "/gcs/bucket/a/b"),
        ("minio://mlpipeline/v2/x", "/minio/mlpipeline/v2/x"),
        ("s3://bucket/x", "/s3/bucket/x"),
        ("/tmp/plain", "/tmp/plain"),
    ],
)
def test_addresses_become_the_launchers_folders(monkeypatch, uri, path):
    monkeypatch.delenv("ARTIFACT_LOCAL_PATH", raising=False)
    assert kubeflow_step.local_path(uri) == path
    monkeypatch.setenv("ARTIFACT_LOCAL_PATH", "/debug")
    assert kubeflow_step.local_path(uri) == (f"/debug{path}" if "://" in uri else path)
