"""FusionEvaluator: segments the hold-out with the chosen models and scores every subject, each plane and fused."""

from pathlib import Path

import pandas as pd
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Model

from components import artifacts
from components.holdout import FUSED, Scored, score_holdout
from lesions import calibration, significance, summaries
from lesions.files import read_table, write_csv, write_table
from lesions.grid import Grid
from lesions.manifest import read_manifest
from lesions.metrics import SCORES, SMOOTHED
from lesions.progress import to_log
from lesions.slices import PLANES
from serving import bids_app
from serving.predictor import SavedModelPredictor

DERIVATIVE = "derivative"  # in the artifact: what `raxnet segment` would write of the hold-out
VOLUME_SCORES = (
    *SCORES,
    *SMOOTHED,
    *("volume_difference", "volume_difference_ml", "lesion_count_difference", "lesion_f1"),
    *("hd95", "assd", "surface_dice"),
)


@component
def FusionEvaluator(
    manifest: InputArtifact[artifacts.Manifest],
    fold_map: InputArtifact[artifacts.FoldMap],
    evaluation: OutputArtifact[artifacts.FusionEvaluation],
    data: Parameter[str],
    rule: Parameter[str],
    threshold: Parameter[float],
    flip: Parameter[int],
    seed: Parameter[int],
    code: Parameter[str],
    model_axial: InputArtifact[Model] = None,
    model_sagittal: InputArtifact[Model] = None,
    model_coronal: InputArtifact[Model] = None,
) -> None:
    """Segments the hold-out by the same segmenter that everybody uses, and writes what it found.

    Args:
        manifest: Names the scans.
        fold_map: Fold 0 is the hold-out.
        evaluation: Written: tables (docs/evaluation.md) and the BIDS derivative.
        data: The data folder, which the derivative's sources are named from.
        rule: mean or majority.
        threshold: Of the fused probability.
        flip: 1 averages with the scans mirrored left to right.
        seed: Of the bootstrap.
        code: Digest of the code that does this.
        model_axial: Chosen model; likewise the other planes, those that are trained.
        model_sagittal: See above.
        model_coronal: See above.
    """
    models = dict(zip(PLANES, (model_axial, model_sagittal, model_coronal), strict=True))
    folders = {p: Path(m.uri) / "Format-Serving" for p, m in models.items() if m is not None}
    predictor = SavedModelPredictor(folders, "unreleased")
    folds = read_table(Path(fold_map.uri) / "folds.csv")
    held_out = set(folds.loc[folds["fold"] == 0, "subject"])
    known = read_manifest(Path(manifest.uri))
    scans = [scan for scan in known.scans if scan.subject in held_out]
    out, progress = Path(evaluation.uri), to_log("segmenting the hold-out")
    options = {"rule": rule, "threshold": threshold, "flip": bool(flip)}
    scored = list(
        score_holdout(scans, Path(data), known.grid, predictor, out / DERIVATIVE, progress, **options)
    )
    bids_app.group(out / DERIVATIVE)
    write_tables(scored, known.grid, seed, out)


def write_tables(scored: list[Scored], grid: Grid, seed: int, out: Path) -> None:
    """Writes the tables of the hold-out.

    Args:
        scored: Of every subject.
        grid: Of the scans.
        seed: Of the bootstrap.
        out: The artifact's folder.
    """
    rows = summaries.with_category(pd.DataFrame([row for s in scored for row in s.volumes]), "3d", grid)
    by_slice = pd.concat([s.slices for s in scored], ignore_index=True)
    write_table(out / "holdout", rows)
    write_table(out / "holdout_slices", by_slice)
    write_csv(out / "summary.csv", summaries.holdout_summary(rows))
    write_csv(out / "scores.csv", summaries.summary(rows, VOLUME_SCORES, ["prediction"], seed))
    by = ["prediction", "size_category"]
    ordered = rows.sort_values("size_category", kind="stable")
    write_csv(out / "by_category.csv", summaries.summary(ordered, VOLUME_SCORES, by, seed))
    write_csv(out / "slice_summary.csv", before_after(by_slice, seed))
    write_csv(out / "comparison.csv", significance.compare(rows, "dice", against=FUSED, seed=seed))
    histograms = pd.concat([s.histogram for s in scored]).groupby("prediction", sort=False)
    added = [calibration.add_up(h).assign(prediction=name) for name, h in histograms]
    write_csv(out / "calibration.csv", pd.concat(added))
    write_csv(out / "uncertainty.csv", pd.DataFrame([s.uncertainty for s in scored]))
    write_csv(out / "files.csv", pd.DataFrame([s.files for s in scored]))


def before_after(by_slice: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Slice scores of each plane's own masks and, on the same slices, of the fused masks.

    The comparison is the method's (docs/spec/method.md#fusion-and-3-d-evaluation).

    Args:
        by_slice: subject, plane, slice, lesion_voxels, and tp, fp, fn with `_before` and `_after`.
        seed: Of the bootstrap, which resamples subjects.

    Returns:
        A row per plane, slices (`all`: smoothed by 1 as in the method; `lesion`: those with lesion, unsmoothed) and
        metric: plane, slices, metric, subjects, n, and mean, sd_population, median, ci_low and ci_high of `before_`,
        `after_` and `gain_` (after less before, slice by slice).
    """
    stages = {}
    for stage in ("before", "after"):
        names = {f"{count}_{stage}": count for count in ("tp", "fp", "fn")}
        stages[stage] = summaries.with_scores(by_slice[[*names]].rename(columns=names))
    made = []
    for plane in by_slice["plane"].unique():
        for slices, scores in (("all", SMOOTHED), ("lesion", SCORES)):
            chosen = (by_slice["plane"] == plane) & ((slices == "all") | (by_slice["lesion_voxels"] > 0))
            subjects = by_slice.loc[chosen, "subject"]
            for metric, score in zip(SCORES, scores, strict=True):
                values = {stage: rows.loc[chosen, score] for stage, rows in stages.items()}
                values["gain"] = values["after"] - values["before"]
                row = {"plane": plane, "slices": slices, "metric": metric, "subjects": subjects.nunique()}
                row["n"] = len(subjects)
                for stage, numbers in values.items():
                    found = summaries.describe(numbers.to_numpy(), subjects.to_numpy(), seed)
                    kept = ("mean", "sd_population", "median", "ci_low", "ci_high")
                    row |= {f"{stage}_{key}": found[key] for key in kept}
                made.append(row)
    return pd.DataFrame(made)
