"""The gateway's settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from serving.gateway.scan import Limits


@dataclass(frozen=True)
class Settings:
    """What the command line says.

    Attributes:
        scratch: Private folder for what is being worked on.
        jobs: Folder of the jobs, which other gateways may share.
        limits: Of uploads.
        volumes: Scans that are segmented at a time.
        queue: Scans that may wait besides.
        keep: Seconds that the results of a job are kept.
    """

    scratch: Path
    jobs: Path
    limits: Limits = field(default_factory=Limits)
    volumes: int = 1
    queue: int = 8
    keep: float = 3600.0
