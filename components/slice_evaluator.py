"""SliceEvaluator: the pipeline's Evaluator; counts of every validation slice, and all that follows from them.

Ours because TFX's writes no per-slice tables. The model runs once and leaves whole counts; thresholds are held against
them elsewhere (components.blesser), so that a changed threshold runs no model.
"""

from pathlib import Path

import pandas as pd
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, Model, ModelEvaluation

from components.tfma_evaluation import COUNT, SliceKey, write_evaluation
from lesions.files import write_csv, write_table
from lesions.grid import Grid
from lesions.metrics import SCORES, SMOOTHED
from lesions.summaries import (
    ALL,
    LESION,
    PUBLISHED,
    describe,
    pooled,
    protocols,
    with_category,
    with_scores,
)
from trainer.evaluate import slice_counts
from trainer.job import read_facts

SLICES, SUBJECTS, SUMMARY, BY_CATEGORY = "slices.csv", "subjects.csv", "summary.csv", "by_category.csv"
# Prefix of the columns: which slices (of lesions.summaries.protocols), and which scores of theirs.
COLUMNS = {"published": (PUBLISHED, SMOOTHED), "all": (ALL, SMOOTHED), "lesion": (LESION, SCORES)}


@component
def SliceEvaluator(
    model: InputArtifact[Model],
    examples: InputArtifact[Examples],
    evaluation: OutputArtifact[ModelEvaluation],
    plane: Parameter[str],
    fold: Parameter[int],
    seed: Parameter[int],
    code: Parameter[str],
) -> None:
    """Evaluates a model on every slice of its validation fold that is not background.

    Args:
        model: Of one plane and fold.
        examples: Of the plane.
        evaluation: Written: slices and subjects (.csv, .parquet), summary.csv, by_category.csv, and TFMA's own
            eval_config.json and metrics-*.tfrecord.
        plane: axial, sagittal or coronal.
        fold: The validation fold.
        seed: Of the normals in the published protocol, and of the bootstrap.
        code: Digest of the code that does this.
    """
    folder, records = Path(model.uri) / "Format-Serving", Path(examples.uri)
    counts = slice_counts(folder, records, fold, f"{plane}, fold {fold}: evaluating")
    counts["published"] = counts.index.isin(protocols(counts, seed)[PUBLISHED].index).astype(int)
    subjects = subject_scores(counts, read_facts(records).grid)
    out = Path(evaluation.uri)
    write_table(out / Path(SLICES).stem, counts)
    write_table(out / Path(SUBJECTS).stem, subjects)
    write_csv(out / SUMMARY, summarize(counts, subjects, seed))
    by_category = [
        summarize(rows, None, seed).assign(size_category=category)
        for category, rows in counts.groupby("size_category")
    ]
    write_csv(out / BY_CATEGORY, pd.concat(by_category))
    write_evaluation(out, figures(counts, plane, fold), str(folder), str(records))


def subject_scores(counts: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    """3-D scores of each subject, from all its slices of the plane.

    Args:
        counts: Of every slice: subject, tp, fp, fn.
        grid: Of the scans.

    Returns:
        subject, slices, tp, fp, fn, lesion_voxels, size_category (of the whole lesion), and `metrics.overlap`'s scores.
    """
    grouped = counts.groupby("subject", sort=False)
    rows = grouped[["tp", "fp", "fn"]].sum().reset_index()
    rows.insert(1, "slices", grouped.size().to_numpy())
    rows["lesion_voxels"] = rows["tp"] + rows["fn"]
    return with_scores(with_category(rows, "3d", grid)).drop(columns="floor")


def summarize(counts: pd.DataFrame, subjects: pd.DataFrame | None, seed: int) -> pd.DataFrame:
    """One row per metric (Dice, recall, precision), the protocols side by side and never mixed.

    Args:
        counts: Rows of subject, slice, lesion_voxels, tp, fp, fn, published.
        subjects: 3-D scores, which get columns of their own; None leaves them out.
        seed: Of the bootstrap, which resamples subjects.

    Returns:
        metric, and for each prefix `n`, `left_out`, `mean`, `sd_population`, `sd_sample`, `median`, `q1`, `q3`,
        `ci_low`, `ci_high`, `pooled` (of the summed counts) and for Dice `floor` (its mean for an all-empty
        prediction). Prefixes: `published_`: lesion slices and as many normals, smoothed by 1; `all_`: smoothed by 1;
        `lesion_`: lesion slices, unsmoothed; `subjects_`: 3-D, unsmoothed.
    """
    parts = {prefix: (_slices_of(counts, which), names) for prefix, (which, names) in COLUMNS.items()}
    if subjects is not None:
        parts["subjects"] = (subjects, SCORES)
    made: list[dict[str, object]] = [{"metric": name} for name in SCORES]
    for prefix, (rows, names) in parts.items():
        micro = pooled(rows).iloc[0]
        for row, metric, name in zip(made, SCORES, names, strict=True):
            values = describe(rows[name].to_numpy(), rows["subject"].to_numpy(), seed) | {
                "pooled": micro[metric]
            }
            row |= {f"{prefix}_{key}": value for key, value in values.items()}
        made[0][f"{prefix}_floor"] = _floor(rows, names)
    return pd.DataFrame(made)


def figures(counts: pd.DataFrame, plane: str, fold: int) -> dict[SliceKey, dict[str, float]]:
    """Means for TFMA's viewer: over everything, by plane, fold and size category, and by all three.

    Args:
        counts: Rows of lesion_voxels, size_category, tp, fp, fn, published.
        plane: axial, sagittal or coronal.
        fold: The validation fold.
    """
    whole = _figures(counts)
    found: dict[SliceKey, dict[str, float]] = {
        (): whole,
        (("plane", plane),): whole,
        (("fold", fold),): whole,
    }
    for category, rows in counts.groupby("size_category"):
        size = ("size_category", int(category))
        found[(size,)] = found[("plane", plane), ("fold", fold), size] = _figures(rows)
    return found


def _figures(counts: pd.DataFrame) -> dict[str, float]:
    made: dict[str, float] = {COUNT: len(counts)}
    for prefix, (which, names) in COLUMNS.items():
        rows = _slices_of(counts, which)
        made[f"{prefix}_slices"] = len(rows)
        made |= {f"{prefix}_{metric}": rows[name].mean() for metric, name in zip(SCORES, names, strict=True)}
        made[f"{prefix}_dice_floor"] = _floor(rows, names)
    return made | {f"pooled_{metric}": float(pooled(counts)[metric].iloc[0]) for metric in SCORES}


def _slices_of(counts: pd.DataFrame, which: str) -> pd.DataFrame:
    scored = with_scores(counts)
    chosen = {
        PUBLISHED: scored["published"] == 1,
        ALL: scored["published"] >= 0,
        LESION: scored["lesion_voxels"] > 0,
    }
    return scored[chosen[which]]


def _floor(rows: pd.DataFrame, names: tuple[str, ...]) -> float:
    """Mean Dice of a prediction without any voxel: plain Dice has 0 for every lesion."""
    if rows.empty:
        return float("nan")
    return float(rows["floor"].mean()) if names == SMOOTHED else 0.0
