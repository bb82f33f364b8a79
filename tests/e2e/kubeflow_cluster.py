"""A compiled pipeline, carried out as Kubeflow's driver and launcher do it: from nothing but its specification.

Every step has its own process and an empty folder. It gets its inputs from an object store (a folder here), brought to
where the launcher brings them; its outputs go back there, and its folder is gone. What steps share is the volume alone.
"""

import json
import os
import shutil
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

ROOT = Path(__file__).parents[2]
SCHEMES = {"gs://": "gcs", "minio://": "minio", "s3://": "s3"}


class Cluster:
    """Runs a pipeline's steps in an order that its dependencies allow."""

    def __init__(self, file, folder, warm, parameters=None):
        """Args: file: As compiled. folder: For the store and the steps. warm: Runs a step. parameters: A user's."""
        self.warm = warm
        self.spec, self.platform = yaml.safe_load_all(Path(file).read_text())
        json_format.ParseDict(self.spec, pipeline_spec_pb2.PipelineSpec())
        self.store, self.pods = folder / "store", folder / "pods"
        defined = self.spec["root"]["inputDefinitions"]["parameters"]
        self.parameters = {name: one["defaultValue"] for name, one in defined.items()} | (parameters or {})
        self.produced, self.logs = {}, {}

    def run(self):
        """Runs all steps, two at a time; returns their names in the order in which they ended."""
        waiting, running, done = dict(self.spec["root"]["dag"]["tasks"]), {}, []
        with ThreadPoolExecutor(2) as pool:
            while waiting or running:
                for name in [n for n, t in waiting.items() if set(t.get("dependentTasks", [])) <= set(done)]:
                    running[pool.submit(self.step, name, waiting.pop(name))] = name
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    done.append(running.pop(future))
        return done

    def step(self, name, task):
        component = self.spec["components"][task["componentRef"]["name"]]
        container = self.spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        pod = self.pods / name
        pod.mkdir(parents=True)
        given = self._executor_input(name, task, component, pod)
        for listed in given["inputs"]["artifacts"].values():
            for artifact in listed["artifacts"]:
                self._copy(self._stored(artifact["uri"]), self._local(artifact["uri"], pod))
        json_format.ParseDict(given, pipeline_spec_pb2.ExecutorInput())  # it is one
        words = [json.dumps(given) if word == "{{$}}" else word for word in container["args"]]
        python, option, module = container["command"][:3]
        assert (python, option) == ("python", "-m")
        environment = {"PATH": os.environ["PATH"], "HOME": str(pod), "PYTHONPATH": str(ROOT)}
        environment |= {"ARTIFACT_LOCAL_PATH": str(pod), "TF_CPP_MIN_LOG_LEVEL": "3"}
        ran = self.warm.run(module, [*container["command"][3:], *words], cwd=pod, env=environment)
        self.logs[name] = ran.stderr
        assert ran.returncode == 0, f"{name}: {ran.stderr[-3000:]}"
        self.produced[name] = self._outputs(given, pod)
        shutil.rmtree(pod)

    def _executor_input(self, name, task, component, pod):
        inputs = task.get("inputs", {})
        parameters = {
            key: self.parameters[one["componentInputParameter"]]
            if "componentInputParameter" in one
            else one["runtimeValue"]["constant"]
            for key, one in inputs.get("parameters", {}).items()
        }
        wanted = {key: one["taskOutputArtifact"] for key, one in inputs.get("artifacts", {}).items()}
        artifacts = {
            key: {"artifacts": [self.produced[one["producerTask"]][one["outputArtifactKey"]]]}
            for key, one in wanted.items()
        }
        made = component.get("outputDefinitions", {}).get("artifacts", {})
        root = f"{self.spec['defaultPipelineRoot']}/raxnet/run-1/{name}"
        outputs = {
            key: {
                "artifacts": [{"name": f"{name}-{key}", "uri": f"{root}/{key}", "type": one["artifactType"]}]
            }
            for key, one in made.items()
        }
        return {
            "inputs": {"parameterValues": parameters, "artifacts": artifacts},
            "outputs": {
                "artifacts": outputs,
                "outputFile": str(pod / "tmp/kfp_outputs/output_metadata.json"),
            },
        }

    def _outputs(self, given, pod):
        said = json.loads(Path(given["outputs"]["outputFile"]).read_text()).get("artifacts", {})
        produced = {}
        for key, listed in given["outputs"]["artifacts"].items():
            (artifact,) = listed["artifacts"]
            (told,) = said.get(key, {}).get("artifacts", [{}])
            assert (
                told.get("uri", artifact["uri"]) == artifact["uri"]
            )  # the store's, not a folder of the step
            self._copy(self._local(artifact["uri"], pod), self._stored(artifact["uri"]))
            produced[key] = artifact | {"metadata": told.get("metadata", {})}
        return produced

    def _local(self, uri, pod):
        (scheme,) = (scheme for scheme in SCHEMES if uri.startswith(scheme))
        return pod / SCHEMES[scheme] / uri.removeprefix(scheme)

    def _stored(self, uri):
        return self.store / uri.split("://", 1)[1]

    def output(self, task, key):
        """Folder of an artifact in the store."""
        return self._stored(self.produced[task][key]["uri"])

    @staticmethod
    def _copy(source, target):
        """Files alone, as object stores have them: a folder without files is not there."""
        for path in sorted(source.rglob("*")) if source.is_dir() else [source] * source.is_file():
            if path.is_file():
                to = target / path.relative_to(source) if path != source else target
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)
