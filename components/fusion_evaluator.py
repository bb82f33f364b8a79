"""FusionEvaluator: scores the hold-out in 3-D, each plane and fused, every subject; blesses for pushing."""

from pathlib import Path

import pandas as pd
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Model, ModelBlessing

from components import artifacts
from components.blessing import Gate, bless, is_blessed
from components.holdout import evaluate_holdout
from lesions.manifest import read_manifest
from lesions.progress import to_log
from lesions.slices import PLANES
from lesions.summaries import holdout_summary
from serving.predictor import SavedModelPredictor


@component
def FusionEvaluator(
    manifest: InputArtifact[artifacts.Manifest],
    fold_map: InputArtifact[artifacts.FoldMap],
    evaluation: OutputArtifact[artifacts.FusionEvaluation],
    blessing: OutputArtifact[ModelBlessing],
    rule: Parameter[str],
    threshold: Parameter[float],
    fused_dice: Parameter[float],
    code: Parameter[str],
    model_axial: InputArtifact[Model] = None,
    model_sagittal: InputArtifact[Model] = None,
    model_coronal: InputArtifact[Model] = None,
    blessing_axial: InputArtifact[ModelBlessing] = None,
    blessing_sagittal: InputArtifact[ModelBlessing] = None,
    blessing_coronal: InputArtifact[ModelBlessing] = None,
) -> None:
    """Segments the hold-out with the chosen models, by the same segmenter that everybody uses.

    Args:
        manifest: Names the scans.
        fold_map: Fold 0 is the hold-out.
        evaluation: Written: holdout.csv, summary.csv, gates.csv, masks/<subject>.nii.gz.
        blessing: Set: all planes blessed, and the fused gate passed.
        rule: mean or majority.
        threshold: Of the fused probability.
        fused_dice: Least mean 3-D Dice.
        code: Digest of the code that does this.
        model_axial: Chosen model; likewise the other planes, those that are trained.
        model_sagittal: See above.
        model_coronal: See above.
        blessing_axial: Its blessing; likewise the other planes.
        blessing_sagittal: See above.
        blessing_coronal: See above.
    """
    models = dict(zip(PLANES, (model_axial, model_sagittal, model_coronal), strict=True))
    blessings = dict(zip(PLANES, (blessing_axial, blessing_sagittal, blessing_coronal), strict=True))
    predictor = SavedModelPredictor(
        {p: Path(m.uri) / "Format-Serving" for p, m in models.items() if m is not None}
    )
    folds = pd.read_csv(Path(fold_map.uri) / "folds.csv")
    held_out = set(folds.loc[folds["fold"] == 0, "subject"])
    known = read_manifest(Path(manifest.uri))
    scans = [scan for scan in known.scans if scan.subject in held_out]
    out = Path(evaluation.uri)
    out.mkdir(parents=True, exist_ok=True)
    progress = to_log("segmenting the hold-out")
    rows = evaluate_holdout(scans, known.grid, predictor, rule, threshold, out / "masks", progress)
    summary = holdout_summary(rows)
    rows.to_csv(out / "holdout.csv", index=False)
    summary.to_csv(out / "summary.csv", index=False)
    fused = float(summary.set_index("prediction").loc["fused", "dice"])
    gates = [Gate(f"hold-out: mean 3-D Dice, fused, n = {len(scans)}", fused_dice, fused)]
    gates += [Gate(f"{p}: slices", 1.0, float(is_blessed(b))) for p, b in blessings.items() if b is not None]
    bless(blessing, gates, "fused").to_csv(out / "gates.csv", index=False)
