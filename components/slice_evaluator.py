"""SliceEvaluator: the pipeline's Evaluator; Dice, recall and precision of every validation slice.

Ours because TFX's writes no per-slice tables. One pass leaves integer counts; everything else follows from them.
"""

from pathlib import Path

import pandas as pd
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, Model, ModelBlessing, ModelEvaluation

from components.blessing import Gate, bless
from lesions.summaries import slice_summary
from trainer.evaluate import slice_counts

SLICES, SUMMARY, GATES = "slices.csv", "summary.csv", "gates.csv"
LESION_SLICES = "lesion slices"


@component
def SliceEvaluator(
    model: InputArtifact[Model],
    examples: InputArtifact[Examples],
    evaluation: OutputArtifact[ModelEvaluation],
    blessing: OutputArtifact[ModelBlessing],
    plane: Parameter[str],
    fold: Parameter[int],
    slice_dice: Parameter[float],
    seed: Parameter[int],
    code: Parameter[str],
) -> None:
    """Evaluates a model on its validation fold and blesses it by a threshold.

    Args:
        model: Of one plane and fold.
        examples: Of the plane.
        evaluation: Written: slices.csv (counts), summary.csv, gates.csv.
        blessing: Set.
        plane: For messages.
        fold: The validation fold.
        slice_dice: Least mean Dice over lesion slices, unsmoothed.
        seed: Of the normals in the published protocol.
        code: Digest of the code that does this.
    """
    counts = slice_counts(
        Path(model.uri) / "Format-Serving", Path(examples.uri), fold, f"{plane}, fold {fold}: evaluating"
    )
    summary = slice_summary(counts, seed)
    out = Path(evaluation.uri)
    out.mkdir(parents=True, exist_ok=True)
    counts.to_csv(out / SLICES, index=False)
    summary.to_csv(out / SUMMARY, index=False)
    dice = float(summary.set_index("protocol").loc[LESION_SLICES, "dice"])
    gates = [Gate(f"{plane}, fold {fold}: mean Dice of lesion slices", slice_dice, dice)]
    bless(blessing, gates, f"{plane}, fold {fold}").to_csv(out / GATES, index=False)


def read_summary(folder: Path) -> pd.DataFrame:
    """The summary of an evaluation: one row per protocol."""
    return pd.read_csv(folder / SUMMARY)
