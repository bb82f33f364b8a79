"""Blesser: holds stored counts and scores against thresholds, and blesses the planes together, or not.

No model runs here: a changed threshold re-runs this component and what is behind it, nothing else.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import ModelBlessing

from components import artifacts
from components.baseline import Comparison, compare, lesion_dice
from components.blessing import Gate, bless
from components.fold_selector import read_counts, read_selection
from lesions.files import read_table, write_csv
from lesions.slices import PLANES
from serving.releases import newest_release

GATES, RELEASED = "gates.csv", "released.csv"


@component
def Blesser(
    evaluation: InputArtifact[artifacts.FusionEvaluation],
    blessing: OutputArtifact[ModelBlessing],
    slice_dice: Parameter[float],
    fused_dice: Parameter[float],
    released_drop: Parameter[float],
    serving_models: Parameter[str],
    code: Parameter[str],
    selection_axial: InputArtifact[artifacts.Selection] = None,
    selection_sagittal: InputArtifact[artifacts.Selection] = None,
    selection_coronal: InputArtifact[artifacts.Selection] = None,
) -> None:
    """Blesses the models of all planes as one.

    Args:
        evaluation: The hold-out's scores.
        blessing: Set; beside it gates.csv and released.csv (the comparison with the released models).
        slice_dice: Least mean Dice over the lesion slices of each chosen model's validation fold, unsmoothed.
        fused_dice: Least mean 3-D Dice of the hold-out, fused.
        released_drop: How far a model may fall behind the released one of its plane.
        serving_models: Where the released models are: those of the moment that this runs. A later release does not
            make it run again.
        code: Digest of the code that does this.
        selection_axial: Chosen model and validation counts; likewise the other planes, those that are trained.
        selection_sagittal: See above.
        selection_coronal: See above.
    """
    given = dict(zip(PLANES, (selection_axial, selection_sagittal, selection_coronal), strict=True))
    release = newest_release(Path(serving_models))
    gates, comparisons = [], []
    for plane, artifact in given.items():
        if artifact is not None:
            selection, counts = read_selection(Path(artifact.uri)), read_counts(Path(artifact.uri))
            found = compare(plane, selection, counts, release, Path(serving_models))
            gates += slice_gates(selection, counts, slice_dice) + released_gates(found, released_drop)
            comparisons.append(found)
    holdout = read_table(Path(evaluation.uri) / "holdout.csv")
    fused = holdout.loc[holdout["prediction"] == "fused", "dice"]
    gates.append(Gate(f"hold-out: mean 3-D Dice, fused, n = {len(fused)}", fused_dice, float(fused.mean())))
    out = Path(blessing.uri)
    write_csv(out / GATES, bless(blessing, gates))
    write_csv(out / RELEASED, pd.DataFrame([vars(c) for c in comparisons]))


def slice_gates(selection: dict[str, Any], counts: pd.DataFrame, least: float) -> list[Gate]:
    """A gate for each of the models that go on to the fusion, on its own validation fold."""
    of = {fold: lesion_dice(counts[counts["fold"] == fold]) for fold in selection["members"]}
    plane = selection["plane"]
    return [Gate(f"{plane}, fold {k}: mean Dice of lesion slices", least, value) for k, value in of.items()]


def released_gates(found: Comparison, drop: float) -> list[Gate]:
    """The gate that the released model sets; none where it cannot be compared."""
    if found.reason:
        return []
    name = (
        f"{found.plane}, fold {found.folds}: mean Dice of {found.slices} lesion slices against that of release "
        f"{found.release}, {found.released:.3f}, less {drop:g}"
    )
    return [Gate(name, found.released - drop, found.candidate)]
