"""Beam profiles: read, filled from the environment, understood by Beam; a wrong one is named."""

import json
import socket

import grpc
import pytest
import yaml
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, StandardOptions

from components.nifti_example_gen import Executor
from components.statistics_gen import Executor as StatisticsExecutor
from components.statistics_gen import StatisticsGen
from lesions.errors import InputError
from pipeline import beam

PROFILES = sorted(path.stem for path in beam.PROFILES.glob("*.yaml"))


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What the profiles for clouds need."""
    for name in ("PROJECT", "REGION", "BUCKET", "IMAGE", "JOB_SERVER"):
        monkeypatch.setenv(f"RAXNET_{name}", f"some-{name.lower()}:1")
    monkeypatch.delenv("RAXNET_FLINK_PORT", raising=False)


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_loads_and_beam_knows_its_arguments(name):
    arguments = beam.load_profile(name)
    options = PipelineOptions(list(arguments))
    known = options.get_all_options(drop_default=True)
    for argument in arguments:
        assert argument.removeprefix("--").split("=")[0] in known, argument
    assert options.view_as(StandardOptions).runner


def test_the_flink_profile_starts_the_worker_that_lies_beside_it(monkeypatch):
    monkeypatch.setenv("RAXNET_FLINK_PORT", "1234")
    options = PipelineOptions(list(beam.load_profile("flink"))).view_as(PortableOptions)
    assert options.job_endpoint == "localhost:1234"
    command = json.loads(options.environment_config)["command"]
    assert (beam.PROFILES / command).resolve() == (beam.ROOT / "deploy/flink/beam_worker.py").resolve()
    assert (beam.PROFILES / command).stat().st_mode & 0o111


def test_the_manifest_for_kubernetes_fits_its_profile_the_local_cluster_and_the_lock(monkeypatch):
    monkeypatch.delenv("RAXNET_JOB_SERVER")
    flink = beam.ROOT / "deploy" / "flink"
    cluster, server, service, policy = yaml.safe_load_all((flink / "kubernetes.yaml").read_text())
    _, pool = cluster["spec"]["taskManager"]["podTemplate"]["spec"]["containers"]
    profile = beam.load_profile("flink-kubernetes")
    port = pool["readinessProbe"]["tcpSocket"]["port"]
    assert f"--environment_config=localhost:{port}" in profile
    assert f"--service_port={port}" in pool["command"]
    (one,) = server["spec"]["template"]["spec"]["containers"]
    version = one["image"].rpartition(":")[2]
    assert (
        f"apache-beam=={version} ; python_full_version >= '3.11'"
        in (beam.ROOT / "requirements.lock").read_text()
    )
    assert f"--flink-master={cluster['metadata']['name']}-rest:8081" in one["args"]
    name, ports = service["metadata"]["name"], {entry["port"] for entry in service["spec"]["ports"]}
    assert {f"--job_endpoint={name}:8099", f"--artifact_endpoint={name}:8098"} <= set(profile)
    assert ports == {8099, 8098} == {entry["port"] for entry in policy["spec"]["ingress"][0]["ports"]}
    local, there = (
        yaml.safe_load((flink / "flink-conf.yaml").read_text()),
        cluster["spec"]["flinkConfiguration"],
    )
    for setting in ("taskmanager.numberOfTaskSlots", "restart-strategy.fixed-delay.attempts"):
        assert str(local[setting]) == there[setting]


def test_a_profile_of_one_s_own_is_filled_from_the_environment(tmp_path, monkeypatch):
    path = tmp_path / "mine.yaml"
    path.write_text("- --runner=${KIND:-FnApiRunner}\n- --temp_location=${PROFILE}/${WHERE}\n")
    monkeypatch.setenv("WHERE", "here")
    assert beam.load_profile(str(path)) == ("--runner=FnApiRunner", f"--temp_location={tmp_path}/here")
    monkeypatch.delenv("WHERE")
    with pytest.raises(InputError, match=r"mine.yaml: set the environment variable WHERE"):
        beam.load_profile(str(path))


@pytest.mark.parametrize("content", ["", "runner: flink", "[]", "- 3\n", "- [", b"\xff\xfe"])
def test_what_is_no_profile_is_refused(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=r"mine.yaml: (expected a list of Beam's arguments|not YAML)"):
        beam.load_profile(str(path))


def test_an_unknown_profile_names_those_that_there_are():
    with pytest.raises(InputError, match=r"--beam flunk: .*there are .*flink.*or name a file"):
        beam.load_profile("flunk")


def test_a_job_server_that_does_not_answer_is_found_before_any_work():
    with socket.create_server(("localhost", 0)) as server:
        argument = f"--job_endpoint=localhost:{server.getsockname()[1]}"
        beam.require_reachable(["--runner=PortableRunner", argument])
    with pytest.raises(InputError, match=r"no Beam job server answers there .*\./dev flink start"):
        beam.require_reachable([argument])
    with pytest.raises(InputError, match="no Beam job server answers there"):
        beam.require_reachable(["--job_endpoint=nowhere"])


def test_a_connection_that_broke_is_told_in_one_line():
    with grpc.insecure_channel("localhost:1") as channel, pytest.raises(grpc.RpcError) as broken:
        channel.unary_unary("/none")(b"", timeout=10)
    told = beam.told(broken.value)
    assert "the Beam job server went away (UNAVAILABLE)" in told
    assert "\n" not in told


def test_a_job_that_failed_is_told_without_its_long_name():
    raised = RuntimeError("Pipeline BeamApp-1_2 failed in state FAILED: java.Lost: a slot\n at java.lang")
    assert beam.told(raised) == "the Beam job ended as FAILED: java.Lost: a slot"
    assert beam.told(ValueError("something else")) is None


@pytest.mark.parametrize("kind", [Executor, StatisticsExecutor])
def test_executors_take_the_arguments_of_the_run(kind, monkeypatch):
    compiled = ["--runner=FnApiRunner", "--sdk_container_image=unused"]
    context = kind.Context(beam_pipeline_args=list(compiled), tmp_dir="", unique_id="1")
    assert kind(context)._beam_pipeline_args[:2] == compiled
    monkeypatch.setenv("RAXNET_BEAM", json.dumps(["--runner=PortableRunner", "--sdk_container_image=unused"]))
    assert kind(context)._beam_pipeline_args[0] == "--runner=PortableRunner"


def test_statistics_gen_is_tfx_s_with_our_executor():
    assert StatisticsGen.EXECUTOR_SPEC.executor_class is StatisticsExecutor
