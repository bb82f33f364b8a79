"""What a comparison will take, from a few measured steps of each of its trainings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import pandas as pd

from pipeline import compare, trainings
from pipeline.config import Config
from trainer import fit, measure
from trainer.job import Training


def estimate(config: Config, kind: str) -> pd.DataFrame:
    """Measures steps of every variant and plane on this machine, on the configuration's own records.

    Args:
        config: Of the run; its records are made first, where they are not there.
        kind: losses or models.

    Returns:
        variant, plane, trainings (folds), slices_per_second, steps (of an epoch), epochs (at most), hours (of all
        trainings, at most: patience may end them sooner), gigabytes (of their checkpoints).
    """
    every = compare.variants(config, kind)
    first = {one.plane: one for one in reversed(trainings.of(config, compare.records(config)))}
    rows = [
        _row(replace(first[plane], settings=settings, variant=name), len(config.train_folds))
        for name, settings in every.items()
        for plane in config.planes
    ]
    return pd.DataFrame(rows)


def measured(one: Training) -> tuple[fit.Feed, float, int]:
    """A training's records, the seconds of one of its steps on this machine, and the bytes that it keeps."""
    feed, _ = one.feeds()
    model = fit.build(one.settings, feed.shape, feed.padding)
    seconds, size = measure.seconds_per_step(model, feed), measure.state_bytes(model)
    keras.backend.clear_session()
    return feed, seconds, size


def _row(one: Training, folds: int) -> dict[str, Any]:
    settings, (feed, seconds, size) = one.settings, measured(one)
    steps = len(feed.plan(0))
    return {
        "variant": one.variant,
        "plane": one.plane,
        "trainings": folds,
        "slices_per_second": settings.batch_size / seconds,
        "steps": steps,
        "epochs": settings.epochs,
        "hours": folds * settings.epochs * steps * seconds / 3600,
        "gigabytes": folds * size / 1e9,
    }
