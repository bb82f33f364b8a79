"""`raxnet run --beam flink`: stopped by a job server that goes away, gone on with, and equal to a local run."""

import json
import subprocess
import sys
import urllib.request

import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2

from lesions.phantom import make_cohort
from lesions.slices import PLANES
from tests.deploy.flink.conftest import wait_for
from tests.e2e.conftest import executed, raxnet, write_config

pytestmark = pytest.mark.slow
SPLIT = {"folds": 2, "holdout": 0.2, "seed": 0}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Writes the configuration of a root of a name."""
    folder = tmp_path_factory.mktemp("flink_run")
    make_cohort(folder / "data", 12, seed=4, spacing=6.0, workers=1)
    return lambda name: write_config(
        folder / f"{name}.yaml", folder / "data", folder / name, split=SPLIT, gates={"fold_drift": 1.0}
    )


def records(root):
    """Plane and split and name -> a shard's bytes."""
    found = root.glob("artifacts/NiftiExampleGen/examples_*/*/Split-*/*.tfrecord")
    return {(path.parts[-4], path.parts[-2], path.name): path.read_bytes() for path in found}


def statistics(root):
    """Plane and split -> number of records, and feature -> its statistics."""
    found = {}
    for path in root.glob("artifacts/StatisticsGen_*/statistics/*/Split-*/FeatureStats.pb"):
        (one,) = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes()).datasets
        features = {"".join(feature.path.step): feature for feature in one.features}
        found[path.parts[-5], path.parts[-2]] = (one.num_examples, features)
    return found


def running(flink):
    """Whether a job runs on the cluster."""
    with urllib.request.urlopen(f"http://localhost:{flink.rest_port}/jobs", timeout=30) as answer:
        return any(job["status"] == "RUNNING" for job in json.load(answer)["jobs"])


def test_a_job_server_that_goes_away(flink, config):
    command = [sys.executable, "-m", "pipeline.cli.main", "run", str(config("cluster")), "--prepare"]
    run = subprocess.Popen([*command, "--beam", "flink"], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: running(flink) or run.poll() is not None)
    flink.kill("jobserver")
    said = run.communicate(timeout=300)[1]
    assert run.returncode == 1, said
    assert "raxnet run: NiftiExampleGen: the Beam job server went away" in said
    assert "Traceback" not in said
    refused = raxnet(*command[3:], "--beam", "flink")
    assert refused.returncode == 2
    assert "no Beam job server answers there" in refused.stderr
    flink.start()
    assert not running(flink)


def test_the_run_after_it_is_equal_to_a_local_one_and_is_not_done_again(flink, config):
    done = raxnet("run", config("cluster"), "--prepare", "--beam", "flink", "--json")
    assert done.returncode == 0, done.stderr
    local = raxnet("run", config("local"), "--prepare", "--json")
    assert local.returncode == 0, local.stderr
    (cluster_root, local_root) = (config(name).with_suffix("") for name in ("cluster", "local"))
    assert len(records(local_root)) == len(PLANES) * 10
    assert records(cluster_root) == records(local_root)
    assert set(statistics(local_root)) == {
        (f"StatisticsGen_{p}", f"Split-fold_{k}") for p in PLANES for k in (1, 2)
    }
    assert statistics(cluster_root) == statistics(local_root)
    again = raxnet("run", config("cluster"), "--prepare", "--json")
    assert executed(json.loads(again.stdout)) == set()
