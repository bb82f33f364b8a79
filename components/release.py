"""Release: one file that says which versions of the planes belong together, written last and at once."""

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import PushedModel

from components import artifacts
from lesions.progress import LOGGER
from lesions.provenance import read_card
from lesions.slices import PLANES
from serving.predictor import folder_digest
from serving.releases import RELEASES, publish

log = logging.getLogger(LOGGER)


@component
def Release(
    evaluation: InputArtifact[artifacts.FusionEvaluation],
    release: OutputArtifact[artifacts.ReleaseRecord],
    serving_models: Parameter[str],
    code: Parameter[str],
    pushed_axial: InputArtifact[PushedModel] = None,
    pushed_sagittal: InputArtifact[PushedModel] = None,
    pushed_coronal: InputArtifact[PushedModel] = None,
) -> None:
    """Writes `<serving_models>/releases/<id>.json` if the models were pushed, and its copy as artifact.

    Args:
        evaluation: The hold-out's scores, which go into the release.
        release: Written: release.json; `{"released": false}` where nothing was pushed.
        serving_models: Folder of the planes' models.
        code: Digest of the code that does this.
        pushed_axial: Of Pusher; likewise the other planes.
        pushed_sagittal: See above.
        pushed_coronal: See above.
    """
    given = dict(zip(PLANES, (pushed_axial, pushed_sagittal, pushed_coronal), strict=True))
    pushed = {
        p: a.get_string_custom_property("pushed_destination") for p, a in given.items() if a is not None
    }
    out = Path(release.uri)
    out.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {"released": False}
    if all(pushed.values()):
        summary = pd.read_csv(Path(evaluation.uri) / "summary.csv")
        content = describe({plane: Path(folder) for plane, folder in pushed.items()}, summary)
        content = publish(content, Path(serving_models) / RELEASES)
        log.info(
            "released %s: %s",
            content["id"],
            ", ".join(f"{p} {m['version']}" for p, m in content["models"].items()),
        )
    else:
        log.warning(
            "nothing released: %s", ", ".join(p for p, folder in pushed.items() if not folder) + " not pushed"
        )
    (out / "release.json").write_text(json.dumps(content, indent=2) + "\n")


def describe(folders: dict[str, Path], summary: pd.DataFrame) -> dict[str, Any]:
    """What a release says: plane -> version, hash and training data; metrics of the hold-out."""
    models = {}
    for plane, folder in folders.items():
        card = read_card(folder)
        models[plane] = {
            "version": int(folder.name),
            "sha256": folder_digest(folder),
            "fold": card.fold,
            "members": list(card.members or (card.fold,)),
            "dataset": card.dataset,
            "phantom": card.phantom,
            "subjects": card.subjects,
            "statement": card.statement(),
        }
    metrics = summary.set_index("prediction").to_dict(orient="index")
    return {"released": True, "models": models, "holdout": metrics}
