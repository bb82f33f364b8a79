"""What a run's results rest on: digests, versions, seeds, and where each artifact lies."""

from __future__ import annotations

import platform
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesions.manifest import Manifest
from lesions.provenance import ModelCard
from lesions.version import code_version
from serving.device import describe

if TYPE_CHECKING:
    from components.report_content import Folders

PACKAGES = (
    "raxnet-pipeline",
    "tfx",
    "tensorflow",
    "keras",
    "apache-beam",
    "numpy",
    "pandas",
    "scipy",
    "nibabel",
)


def lineage(
    folders: Folders,
    known: Manifest,
    cards: dict[str, ModelCard],
    chosen: dict[str, dict[str, Any]],
    settings: dict[str, Any],
    versions: dict[str, str],
) -> dict[str, dict[str, Any]]:
    """Heading -> facts.

    Args:
        folders: Of the run's artifacts.
        known: The manifest.
        cards: Of each plane's chosen model.
        chosen: selection.json of each plane.
        settings: The configuration.
        versions: Component -> digest of the code that it ran; may be empty.
    """
    return {
        "Data": {
            "data set": known.name,
            "SHA-256 of the data set": known.digest,
            "SHA-256 of the fold map": next(iter(cards.values())).fold_map,
        },
        "Models": {
            f"{plane}, {name}": value
            for plane, card in cards.items()
            for name, value in (
                ("SHA-256", chosen[plane]["sha256"]),
                ("validation fold", ", ".join(map(str, card.members or (card.fold,)))),
                (
                    "trained with",
                    ", ".join(f"{package} {version}" for package, version in card.software.items()),
                ),
            )
        }
        | {"how folds were chosen": next(iter(chosen.values()))["rule"]},
        "Seeds": _seeds(settings),
        "Digests of the code that each component ran": versions,
        "This page": {
            "code": code_version(),
            "written": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "device": describe(),
            "Python": platform.python_version(),
        },
        "Packages that wrote this page": {package: metadata.version(package) for package in PACKAGES},
        "Artifacts": _artifacts(folders),
    }


def _seeds(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "split.seed": f"{settings['split']['seed']} (split, normal slices of the published protocol, bootstrap)",
        "training.seed": f"{settings['training']['seed']} (weights and batches)",
    }


def _artifacts(folders: Folders) -> dict[str, str]:
    """Kind -> folder within the run's artifacts; the number at its end is ML Metadata's id of the execution."""
    single = {name: path for name, path in vars(folders).items() if isinstance(path, Path)}
    by_plane = {f"{kind}, {plane}": path for kind in ("selections", "models")
                for plane, path in getattr(folders, kind).items()}  # fmt: skip
    return {
        name.replace("_", " "): "/".join(path.parts[-3:]) for name, path in {**single, **by_plane}.items()
    }
