"""The manifests: valid for Kubernetes, wired together, and calling our commands by options that exist."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from pipeline.cli.main import parser
from serving.gateway.app import OPEN

DEPLOY = Path(__file__).parents[2] / "deploy"
VALIDATOR = "kubernetes-validate==1.37.0"
FILES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
VERSIONS = ("1.29", "1.37")  # Kubernetes' minor versions, the oldest and the newest that it is meant for


def documents():
    found = []
    for path in FILES:
        if path.name != "kustomization.yaml":
            found += [(path.name, one) for one in yaml.safe_load_all(path.read_text())]
    return found


def of(kind, name):
    (found,) = (one for _, one in documents() if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


def container(name):
    (found,) = of("Deployment", name)["spec"]["template"]["spec"]["containers"]
    return found


def validated(*paths):
    """Runs the validator in an environment of its own, because TFX is slower to start beside it (pyproject.toml)."""
    uv = Path(sys.executable).with_name("uv")
    command = [
        uv,
        "tool",
        "run",
        "--quiet",
        "--no-config",
        "--from",
        VALIDATOR,
        "kubernetes-validate",
        "--strict",
    ]
    versions = [word for version in VERSIONS for word in ("-k", version)]
    return subprocess.run([*command, *versions, *paths], capture_output=True, text=True, check=False)


def test_every_manifest_is_valid():
    done = validated(*(path for path in FILES if path.name != "kustomization.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    passed = Counter(line.split(" passed for resource ")[1] for line in done.stdout.splitlines() if line)
    names = [f"{one['kind']}/{one['metadata']['name']}".lower() for _, one in documents()]
    assert passed == Counter(f"{name} against version {version}" for name in names for version in VERSIONS)


def test_a_wrong_manifest_is_found(tmp_path):
    wrong = of("Deployment", "gateway")
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong))
    done = validated(tmp_path / "wrong.yaml")
    assert done.returncode != 0
    assert "livenessprobe" in done.stdout + done.stderr


def test_kustomization_lists_every_file():
    listed = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == [path.name for path in FILES]


def test_the_gateways_options_are_those_of_our_command():
    given = container("gateway")
    asked = parser().parse_args(given["args"])
    assert (asked.command, asked.port, asked.host) == ("serve", 8080, "0.0.0.0")
    assert str(asked.jobs) in {mount["mountPath"] for mount in given["volumeMounts"]}
    server = of("Service", "tf-serving")
    assert asked.server == f"http://{server['metadata']['name']}:{server['spec']['ports'][0]['port']}"


def test_probes_ask_what_is_answered_without_a_token():
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container("gateway")[name]["httpGet"]
        assert probe["path"] in OPEN
        assert probe["httpHeaders"] == [{"name": "Host", "value": "localhost"}]


def test_the_models_configuration_is_that_of_deploy_tf_serving():
    files = {path.name: path.read_text() for path in (DEPLOY / "tf_serving").glob("*.config")}
    assert of("ConfigMap", "tf-serving")["data"] == files
    for name in files:
        assert any(word.endswith(f"/config/{name}") for word in container("tf-serving")["args"])


@pytest.mark.parametrize("name", ["gateway", "tf-serving"])
def test_nothing_runs_as_root_or_writes_to_its_image(name):
    given, pod = container(name), of("Deployment", name)["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert given["securityContext"]["readOnlyRootFilesystem"]
    assert given["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert set(given["resources"]) == {"requests", "limits"}


def test_claims_selectors_and_scaled_things_exist():
    claims = {one["metadata"]["name"] for _, one in documents() if one["kind"] == "PersistentVolumeClaim"}
    for name in ("gateway", "tf-serving"):
        deployment = of("Deployment", name)
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert of("Service", name)["spec"]["selector"].items() <= labels.items()
        assert of("NetworkPolicy", name)["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        assert of("HorizontalPodAutoscaler", name)["spec"]["scaleTargetRef"]["name"] == name
        volumes = deployment["spec"]["template"]["spec"]["volumes"]
        used = {v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v}
        assert used <= claims
        mounted = {mount["name"] for mount in container(name)["volumeMounts"]}
        assert mounted == {volume["name"] for volume in volumes}
