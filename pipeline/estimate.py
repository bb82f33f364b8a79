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


def _row(one: Training, folds: int) -> dict[str, Any]:
    settings, (feed, _) = one.settings, one.feeds()
    model = fit.build(settings, feed.shape, feed.padding)
    seconds, steps = measure.seconds_per_step(model, feed), len(feed.plan(0))
    size = measure.state_bytes(model)
    keras.backend.clear_session()
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
