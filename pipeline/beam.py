"""Beam profiles: lists of Beam's arguments that say where its pipelines run."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lesions.errors import InputError
from pipeline.digests import ROOT

PROFILES = ROOT / "deploy" / "beam"
_ENDPOINT = "--job_endpoint="
_FAILED = re.compile(r"Pipeline \S+ failed in state (\w+): (.*)")  # what Beam's portable runner raises
_NAME = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")  # ${NAME} or ${NAME:-value}, as in a shell


def load_profile(profile: str) -> tuple[str, ...]:
    """Reads a profile: a YAML list of Beam's arguments.

    `${NAME}` stands for an environment variable, `${NAME:-value}` for one that may be missing, `${PROFILE}` for the
    profile's folder.

    Args:
        profile: Name of one in deploy/beam, or a file.

    Raises:
        InputError: No such profile, no list of texts, or an environment variable is missing.
    """
    path = Path(profile)
    if not path.suffix:
        path = PROFILES / f"{profile}.yaml"
    try:
        content: Any = yaml.safe_load(path.read_text())
    except OSError as error:
        known = ", ".join(sorted(found.stem for found in PROFILES.glob("*.yaml")))
        raise InputError(
            f"--beam {profile}: {path} cannot be read ({error.strerror}); there are {known}, or name a file"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not (isinstance(content, list) and content and all(isinstance(argument, str) for argument in content)):
        raise InputError(f"{path}: expected a list of Beam's arguments, such as `- --runner=FnApiRunner`")
    return tuple(_filled(argument, path) for argument in content)


def _filled(argument: str, path: Path) -> str:
    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = str(path.resolve().parent) if name == "PROFILE" else os.environ.get(name, default)
        if found is None:
            raise InputError(f"{path}: set the environment variable {name}, which `{argument}` needs")
        return found

    return _NAME.sub(value, argument)


def require_reachable(arguments: Sequence[str]) -> None:
    """Fails before any work where a job server does not answer.

    Raises:
        InputError: It does not.
    """
    for argument in arguments:
        if argument.startswith(_ENDPOINT):
            host, _, port = argument.removeprefix(_ENDPOINT).rpartition(":")
            try:
                socket.create_connection((host, int(port)), timeout=10).close()
            except (OSError, ValueError) as error:
                raise InputError(
                    f"{argument}: no Beam job server answers there ({error}); start it (`./dev flink start` for the "
                    "profile flink), or run without --beam"
                ) from None


def told(error: BaseException) -> str | None:
    """What to say of an error that a job server or the connection to it raised; None for any other error."""
    import grpc

    if isinstance(error, grpc.RpcError):
        code = error.code().name if isinstance(error, grpc.Call) else type(error).__name__
        return (
            f"the Beam job server went away ({code}), and with it the job; start it again (`./dev flink start` for the "
            "profile flink, which ends what is left of the job), then run again"
        )
    if failed := _FAILED.match(str(error)):
        return f"the Beam job ended as {failed[1]}: {failed[2]}"
    return None
