"""Addresses of the REST API: matched on the undecoded path with its query, names decoded after.

The rules: docs/spec/tensorflow_serving.md#urls.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from serving.rest_api.errors import RestError, invalid

_WHICH = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_GET = re.compile(rf"/v1/models(?:/(?P<model>[^/:]+))?{_WHICH}(?:/(?P<metadata>metadata))?", re.IGNORECASE)
_POST = re.compile(rf"/v1/models/(?P<model>[^/:]+){_WHICH}:(?P<verb>predict|classify|regress)", re.IGNORECASE)
LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Target:
    """What an address names.

    Attributes:
        model: Name of the model; "" where there is none.
        version: Its version, None for the newest.
        label: A label instead of a version.
        verb: predict, classify or regress, as it was written; "" in a GET.
        metadata: True for a GET of the signatures, False of the status.
    """

    model: str
    version: int | None = None
    label: str | None = None
    verb: str = ""
    metadata: bool = False


def is_api(path: str) -> bool:
    """Whether a path belongs to the API at all."""
    return path[:4].lower() == "/v1/"


def malformed(method: str, path: str) -> RestError:
    """The error for an address that names nothing."""
    return invalid(f"Malformed request: {method} {path}")


def parse(method: str, path: str) -> Target:
    """Reads an address.

    Args:
        method: GET or POST.
        path: The path as it came, percent-encoded, with "?" and the query where there is one.

    Raises:
        RestError: It names nothing, or a version beyond 64 bits.
    """
    match = (_GET if method == "GET" else _POST).fullmatch(path)
    if not match:
        raise malformed(method, path)
    parts = match.groupdict()
    version = parts["version"]
    if version is not None and (len(version.lstrip("0")) > 19 or int(version) > LARGEST):
        raise invalid(f"Failed to convert version: {version} to numeric.")
    return Target(
        model=unquote(parts["model"] or ""),
        version=None if version is None else int(version),
        label=None if parts["label"] is None else unquote(parts["label"]),
        verb=parts.get("verb") or "",
        metadata=bool(parts.get("metadata")),
    )
