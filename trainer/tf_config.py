"""TF_CONFIG: which processes train one network together, and which of them this one is.

Kubeflow's training operator sets it in every pod of a TFJob; elsewhere whoever starts the processes does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lesions.errors import InputError

VARIABLE = "TF_CONFIG"
EXAMPLE = '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Cluster:
    """Processes that train together.

    Attributes:
        addresses: host:port of each; the first writes the checkpoints.
        number: Of this process among them, from 0.
    """

    addresses: tuple[str, ...]
    number: int


def cluster(environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """The processes that TF_CONFIG names; None where there is none, or only this one.

    Raises:
        InputError: It is no such thing, or names processes that this training has no work for.
    """
    said = environment.get(VARIABLE, "").strip()
    if not said:
        return None
    try:
        content = json.loads(said)
        jobs = {name: tuple(map(str, hosts)) for name, hosts in content.get("cluster", {}).items() if hosts}
        task = content.get("task", {})
        kind, index = str(task.get("type", "worker")), int(task.get("index", 0))
    except (ValueError, TypeError, AttributeError):
        raise _wrong("is not understood", said) from None
    return _checked(jobs, kind, index, said)


def _checked(jobs: dict[str, tuple[str, ...]], kind: str, index: int, said: Any) -> Cluster | None:
    others = sorted(set(jobs) - {"chief", "worker"})
    if others:
        raise _wrong(f"names {', '.join(others)}, which have nothing to do here: only chief and worker", said)
    chiefs, workers = jobs.get("chief", ()), jobs.get("worker", ())
    if len(chiefs) > 1:
        raise _wrong("names more than one chief", said)
    if len(chiefs + workers) < 2:
        return None
    if not 0 <= index < len(jobs.get(kind, ())):
        raise _wrong(f"says that this is {kind} {index}, which its cluster has not", said)
    return Cluster(chiefs + workers, index if kind == "chief" else len(chiefs) + index)


def _wrong(what: str, said: Any) -> InputError:
    return InputError(f"{VARIABLE} {what}; expected as in {EXAMPLE}, found {said}")
