"""FoldGen: one map from subject to fold for all planes, and the proof of its quality."""

from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component

from components import artifacts
from lesions import folds as split
from lesions.statistics import read_tables


@component
def FoldGen(
    tables: InputArtifact[artifacts.LesionTables],
    fold_map: OutputArtifact[artifacts.FoldMap],
    folds: Parameter[int],
    holdout: Parameter[float],
    seed: Parameter[int],
    code: Parameter[str],
) -> None:
    """Splits the subjects into a hold-out and folds of equal lesion-size distribution.

    Args:
        tables: Of the lesions.
        fold_map: Written: folds.csv and folds_quality.csv.
        folds: Their number.
        holdout: Share of the subjects held out.
        seed: Of the split.
        code: Digest of the code that does this.
    """
    measured = read_tables(Path(tables.uri))
    frame = split.make_folds(measured, folds, holdout, seed)
    split.check_folds(frame, measured.lesions_3d["subject"])
    out = Path(fold_map.uri)
    out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(out / "folds.csv", index=False)
    split.quality(measured, frame).to_csv(out / "folds_quality.csv", index=False)
