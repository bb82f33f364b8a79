"""Variants of one configuration, held against each other: the same records, folds, batches and evaluation for all.

Nothing is done that a run does otherwise: a variant's trainings are those of a run with its settings, and share their
checkpoints with such a run.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lesions import dataset, significance
from lesions.errors import WorkError
from lesions.files import read_table, write_bytes, write_csv, write_table, write_text
from lesions.progress import LOGGER
from lesions.summaries import PUBLISHED, protocols
from pipeline import console, device, local_runner, trainings
from pipeline.config import COMPARE, Config
from pipeline.digests import code_digest

if TYPE_CHECKING:
    from trainer.job import Training
    from trainer.settings import TrainingSettings

log = logging.getLogger(LOGGER)
LOSSES, MODELS = "losses", "models"
PAGE = "tables.md"
FACTS, SLICES, HISTORY = "facts.json", "slices", "history.csv"


def variants(config: Config, kind: str) -> dict[str, TrainingSettings]:
    """Name -> settings of what is compared.

    Args:
        config: Of the run.
        kind: losses or models.

    Raises:
        InputError: A name is not known; says which are.
    """
    given, asked = config.training, config.compare
    if kind == LOSSES:
        made = {name: replace(given, loss=name) for name in asked.losses}
    else:
        made = {}
        for name in asked.models:
            common = replace(given, network=name, network_options={})
            local_runner.check_names(common)
            made |= _recipes(name, common, asked.recipes)
    for settings in made.values():
        local_runner.check_names(settings)
    return made


def _recipes(name: str, common: TrainingSettings, which: str) -> dict[str, TrainingSettings]:
    from trainer.recipes import PUBLISHED, published

    made = {} if which == "published" else {name: common}
    if which != "common" and name in PUBLISHED:
        made[f"{name}, own recipe"] = published(name, common)
    return made


def compare(config: Config, kind: str) -> Path:
    """Trains what is not trained yet, evaluates it and writes tables and figures; goes on where it was.

    Args:
        config: Of the run.
        kind: losses or models.

    Returns:
        The folder: tables.md, and as CSV scores, costs, significance, subjects, slices; dice.png, curves.png.

    Raises:
        InputError: As a run.
        WorkError: Trainings failed; the tables of the others are written first.
    """
    every = variants(config, kind)
    examples = records(config)
    stamp = f"{datetime.now():%Y%m%dT%H%M%S}"
    with console.logged(config.root / "logs" / f"compare-{kind}-{stamp}.log"):
        device.choose(config.device)
        asked = [
            replace(one, settings=settings, variant=name)
            for name, settings in every.items()
            for one in trainings.of(config, examples)
        ]
        unique: dict[Path, Training] = {}  # a recipe may be the common one: the same training
        for one in asked:
            unique.setdefault(one.folder, one)
        failed = trainings.train_all(list(unique.values()), config.parallel_trainings, config.device)
        lost = [one.folder for one, _ in failed]
        done = [one for one in asked if one.folder not in lost]
        if done:
            folders = [evaluate(one, config) for one in done]
            write(config, kind, done, folders, [f"{one.name}: {why}" for one, why in failed])
    if failed:
        raise WorkError(trainings.told(failed))
    return config.root / COMPARE / kind


def records(config: Config) -> dict[str, Path]:
    """Makes and checks the records where they are not made; plane -> folder of its Examples artifact."""
    local_runner.run(config, prepare=True)
    return trainings.prepared(config, dataset.digest(dataset.discover(config.data)))


def evaluate(one: Training, config: Config) -> Path:
    """The counts of every validation slice and the costs of a finished training; kept, and not made twice.

    Returns:
        Their folder: slices (.csv, .parquet), history.csv, facts.json.
    """
    import keras

    from trainer import cost, fit, job, measure
    from trainer.evaluate import slice_counts

    folder = config.root / COMPARE / "evaluations" / one.plane / f"fold_{one.fold}" / one.folder.name
    state = fit.reached(one.folder)
    key = f"{state.epoch} {state.best_epoch} {code_digest('Export', 'SliceEvaluator')} {config.split.seed}"
    if (folder / FACTS).exists() and json.loads((folder / FACTS).read_text())["key"] == key:
        return folder
    model, state = job.train(one)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        job.export(one, model, state, Path(scratch))
        counts = slice_counts(Path(scratch), one.examples, one.fold, f"{one.name}: evaluating")
        seconds = measure.seconds_per_slice(Path(scratch))
    counts["published"] = counts.index.isin(protocols(counts, config.split.seed)[PUBLISHED].index).astype(int)
    write_table(folder / SLICES, counts)
    fit.write_history(folder / HISTORY, state.history)
    facts = {
        "key": key,
        "parameters": model.count_params(),
        "gflops": 2e-9 * cost.macs(model),
        "seconds_per_slice": seconds,
        "best_epoch": state.best_epoch,
    }
    write_text(folder / FACTS, json.dumps(facts, indent=2) + "\n")
    keras.backend.clear_session()
    return folder


def write(
    config: Config, kind: str, done: Sequence[Training], folders: Sequence[Path], failed: Sequence[str]
) -> None:
    """Writes all tables and figures of a comparison.

    Args:
        config: Of the run.
        kind: losses or models.
        done: The trainings that are compared.
        folders: Of `evaluate`, in the same order.
        failed: Trainings that are not there, and why.
    """
    from reports import comparison
    from reports.comparisons import ABOUT
    from reports.style import png
    from serving.device import describe
    from trainer.job import read_facts

    facts, seed = read_facts(done[0].examples), config.split.seed
    made: dict[str, list[pd.DataFrame]] = {
        name: [] for name in ("scores", "significance", "subjects", SLICES)
    }
    for plane in (p for p in config.planes if any(one.plane == p for one in done)):
        counts = _counts(done, folders, plane)
        subjects, scores = _scores(counts, facts.grid, seed)
        named = subjects.rename(columns={"dice": "3-D Dice"})  # for the sentences
        tests = significance.compare(named, "3-D Dice", method="variant", seed=seed)
        for parts, frame in zip(made.values(), (scores, tests, subjects, counts), strict=True):
            frame.insert(0, "plane", plane)
            parts.append(frame)
    tables = {name: pd.concat(parts, ignore_index=True) for name, parts in made.items()}
    tables["costs"] = pd.DataFrame([_costs(*pair) for pair in zip(done, folders, strict=True)])
    out = config.root / COMPARE / kind
    write_table(out / SLICES, tables.pop(SLICES))
    for name, frame in tables.items():
        write_csv(out / f"{name}.csv", frame)
    curves = [
        (one.variant, one.plane, one.fold, read_table(folder / HISTORY))
        for one, folder in zip(done, folders, strict=True)
    ]
    write_bytes(out / "dice.png", png(comparison.draw_dice(tables["subjects"])))
    write_bytes(out / "curves.png", png(comparison.draw_curves(curves)))
    title = f"{kind.capitalize()} compared on {facts.name}"
    about = {"title": title, "device": describe(), "failed": list(failed)}
    write_text(out / ABOUT, json.dumps(about, indent=2) + "\n")
    write_text(out / PAGE, comparison.page(title, tables, facts.phantom, describe(), failed))
    log.info("comparison: %s", out / PAGE)


def _counts(done: Sequence[Training], folders: Sequence[Path], plane: str) -> pd.DataFrame:
    """Validation slices of a plane: variant, fold, and the columns of slices.csv."""
    parts = [
        read_table(folder / f"{SLICES}.parquet").assign(variant=one.variant, fold=one.fold)
        for one, folder in zip(done, folders, strict=True)
        if one.plane == plane
    ]
    return pd.concat(parts, ignore_index=True)


def _scores(counts: pd.DataFrame, grid: Any, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """3-D scores of each variant's subjects, and a row of means per variant."""
    from components.slice_evaluator import subject_scores, summarize

    subjects, means = [], []
    for name, rows in counts.groupby("variant", sort=False):
        mine = subject_scores(rows, grid)
        subjects.append(mine.assign(variant=name))
        summary = summarize(rows, mine, seed).set_index("metric")
        means.append({"variant": name} | _flat(summary))
    return pd.concat(subjects, ignore_index=True), pd.DataFrame(means)


def _flat(summary: pd.DataFrame) -> dict[str, Any]:
    """`summarize`'s rows in one: published_dice_mean, ..., lesion_dice_ci_low, ..., subjects_dice_n, ..."""
    flat = {}
    for column in summary:
        prefix, figure = str(column).split("_", 1)
        for metric, value in summary[column].items():
            if not (figure == "floor" and metric != "dice"):
                flat[f"{prefix}_{metric}_{figure}"] = value
    return flat


def _costs(one: Training, folder: Path) -> dict[str, Any]:
    """What a training took: variant, plane, fold, parameters, gflops, seconds_per_slice, epochs, best_epoch, ..."""
    facts = json.loads((folder / FACTS).read_text())
    seconds = read_table(folder / HISTORY)["seconds"]
    row = {"variant": one.variant, "plane": one.plane, "fold": one.fold}
    row |= {name: facts[name] for name in ("parameters", "gflops", "seconds_per_slice")}
    row |= {"epochs": len(seconds), "best_epoch": facts["best_epoch"]}
    row["seconds_per_epoch"] = seconds.mean()
    return row | {"seconds_to_best": seconds.iloc[: facts["best_epoch"]].sum(), "seconds": seconds.sum()}
