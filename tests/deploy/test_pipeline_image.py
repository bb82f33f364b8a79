"""The pipeline's image, built where it is asked for (./dev slow --images all): it carries out a step of Kubeflow."""

import json
import os
import sys
from pathlib import Path

import pytest

from pipeline.kubeflow_settings import KubeflowSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]  # images may have to be built first
ROOT = Path(__file__).parents[2]
GENERATOR = "components.hyperparameters_gen.HyperparametersGen_Executor"


@pytest.fixture(scope="module")
def pipeline_image(request):
    if os.environ.get("RAXNET_IMAGES") != "all":
        pytest.skip("the pipeline's image is built by `./dev slow --images all` (RAXNET_IMAGES=all)")
    engine = request.getfixturevalue("engine")
    engine.build(ROOT, "raxnet-pipeline", "--network=host", "--target=pipeline")
    print(f"pipeline: {int(engine.inspect('raxnet-pipeline', '.Size')) / 1e6:.0f} MB", file=sys.stderr)
    return "raxnet-pipeline"


def invocation():
    """What Kubeflow's launcher says to a step."""
    kind = {"instanceSchema": "title: tfx.HyperParameters\ntype: object\n"}
    artifact = {"name": "h", "uri": "minio://b/h", "type": kind}
    outputs = {"hyperparameters": {"artifacts": [artifact]}}
    return {
        "inputs": {"parameterValues": {"epochs": 3.0, "batch_size": 8.0, "code": "c"}},
        "outputs": {"artifacts": outputs, "outputFile": "/store/outputs/metadata.json"},
    }


def test_it_carries_out_a_step_of_kubeflow(pipeline_image, engine, tmp_path):
    out = tmp_path / "store"
    out.mkdir()
    os.chown(out, 10001, 10001)
    kinds = {"epochs": "NUMBER_INTEGER", "batch_size": "NUMBER_INTEGER", "code": "STRING"}
    spec = {"parameters": {name: {"parameterType": kind} for name, kind in kinds.items()}}
    words = ["-m", "pipeline.kubeflow_step", "--executor_class_path", GENERATOR]
    words += ["--json_serialized_invocation_args", json.dumps(invocation())]
    words += ["--json_serialized_inputs_spec_args", json.dumps(spec)]
    closed = ("--rm", "--network=none", "--read-only", "--tmpfs=/tmp", f"--volume={out}:/store")
    settings = ("--env=ARTIFACT_LOCAL_PATH=/store", "--entrypoint=python")
    engine.say("run", *closed, *settings, pipeline_image, *words)
    assert json.loads((out / "minio/b/h/hyperparameters.json").read_text()) == {"epochs": 3, "batch_size": 8}
    told = json.loads((out / "outputs/metadata.json").read_text())["artifacts"]
    assert told["hyperparameters"]["artifacts"][0]["uri"] == "minio://b/h"


def test_the_schema_is_where_the_pipeline_looks_for_it(pipeline_image, engine):
    path = f"{KubeflowSettings().home}/schema/schema.pbtxt"
    engine.say("run", "--rm", "--entrypoint=test", pipeline_image, "-f", path)
