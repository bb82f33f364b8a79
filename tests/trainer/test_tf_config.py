"""TF_CONFIG: who trains together, and what is no such thing."""

import json

import pytest

from lesions.errors import InputError
from trainer.tf_config import Cluster, cluster


def found(jobs, kind="worker", index=0):
    return cluster({"TF_CONFIG": json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})})


@pytest.mark.parametrize("environment", [{}, {"TF_CONFIG": ""}, {"TF_CONFIG": "{}"}])
def test_without_it_there_is_one_process(environment):
    assert cluster(environment) is None


def test_one_worker_is_one_process():
    assert found({"worker": ["a:1"]}) is None
    assert found({"chief": ["a:1"], "worker": []}, "chief") is None


def test_the_chief_comes_first():
    both = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
    assert found(both, "chief") == Cluster(("a:1", "b:1", "c:1"), 0)
    assert found(both, "worker", 1) == Cluster(("a:1", "b:1", "c:1"), 2)
    assert found({"worker": ["b:1", "c:1"]}, "worker", 1) == Cluster(("b:1", "c:1"), 1)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("not json", "is not understood"),
        ("[]", "is not understood"),
        ('{"cluster": 3}', "is not understood"),
        (
            '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": "x"}}',
            "is not understood",
        ),
        (
            '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
            "this is worker 2",
        ),
        (
            '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": -1}}',
            "this is worker -1",
        ),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}', "this is chief 0"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}', "names ps"),
        (
            '{"cluster": {"chief": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}',
            "more than one chief",
        ),
    ],
)
def test_what_is_wrong_is_told(said, why):
    with pytest.raises(InputError, match="TF_CONFIG") as told:
        cluster({"TF_CONFIG": said})
    assert why in str(told.value)
    assert str(told.value).endswith(f"found {said}")
