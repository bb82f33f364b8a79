"""Custom TFX components, one file each; the artifact types are found here by name, as Kubeflow wants them."""

from __future__ import annotations

from typing import Any

ARTIFACTS = (
    "FoldMap",
    "FusionEvaluation",
    "GateReport",
    "LesionTables",
    "Manifest",
    "ReleaseRecord",
    "Report",
    "Selection",
)


def __getattr__(name: str) -> Any:
    """Loads an artifact type when it is asked for, so that importing a component's name imports no TFX."""
    if name in ARTIFACTS:
        from components import artifacts

        return getattr(artifacts, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
