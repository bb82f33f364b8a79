"""What a run will take, without doing any of it: trainings, hours and disk.

Where the records of this very configuration are made, all is counted in them. Else some subjects, evenly spread over
the data set, are made into records in a temporary folder, and stand for the others.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from lesions import dataset as data_set
from lesions.checks import check_dataset
from lesions.dataset import Dataset
from lesions.errors import InputError
from lesions.ingest import read_subject, slices_of
from lesions.progress import LOGGER
from lesions.slices import PLANES
from pipeline import local_runner, trainings
from pipeline.config import Config
from pipeline.estimate import measured
from trainer import fit, measure
from trainer.job import Facts, Training
from trainer.record_store import RecordStore, place

log = logging.getLogger(LOGGER)
SAMPLE = 8  # subjects


@dataclass(frozen=True)
class Forecast:
    """What a run will take.

    Attributes:
        table: plane, trainings (still to be done), epochs (left in all of them, at most), lesion_slices (trained on),
            steps (of an epoch), slices_per_second, hours (at most), gigabytes (of checkpoints).
        records: Bytes of records that are still to be written.
        sampled: Subjects that stood for the others; 0 where the records are made.
        subjects: With a mask.
    """

    table: pd.DataFrame
    records: float
    sampled: int
    subjects: int


def forecast(config: Config) -> Forecast:
    """Measures some steps of each plane's training on this machine; writes nothing into the root.

    Raises:
        InputError: As a run, or none of the subjects that were tried can be used.
    """
    dataset = local_runner.usable(config)
    subjects = len(dataset.labeled)
    try:
        examples = trainings.prepared(config, data_set.digest(dataset))
        return Forecast(_table(trainings.of(config, examples), 1.0), 0.0, 0, subjects)
    except InputError:
        pass  # no records of this configuration yet
    trained = subjects - max(1, round(config.split.holdout * subjects))
    with _sampled(dataset, config.split.folds) as (examples, size, count):
        share = trained / count / config.split.folds  # every fold has all of the sample, not a share of them
        table = _table(trainings.of(config, examples), share)
    return Forecast(table, size / count * trained, count, subjects)


def _table(every: Sequence[Training], share: float) -> pd.DataFrame:
    """A row per plane.

    Args:
        every: The run's trainings.
        share: So many times the records that are there will be trained on.
    """
    planes = {one.plane: [t for t in every if t.plane == one.plane] for one in every}
    return pd.DataFrame([_row(some, share) for some in planes.values()])


def _row(some: Sequence[Training], share: float) -> dict[str, object]:
    first, states = some[0], [fit.reached(one.folder) for one in some]
    settings = first.settings
    left = [settings.epochs - state.epoch for state in states if not fit.finished(state, settings)]
    log.info("%s: measuring %d steps of %d slices", first.plane, measure.STEPS + 1, settings.batch_size)
    feed, seconds, size = measured(first)
    plan, lesions = feed.plan(0), round(share * np.count_nonzero(feed.index.rows["category"]))
    steps = len(plan) if share == 1 else -(-2 * lesions // settings.batch_size)
    return {
        "plane": first.plane,
        "trainings": len(left),
        "epochs": sum(left),
        "lesion_slices": lesions,
        "steps": steps,
        "slices_per_second": len(plan[0]) / seconds,
        "hours": sum(left) * steps * seconds / 3600,
        "gigabytes": sum(state.epoch == 0 for state in states) * size / 1e9,
    }


@contextmanager
def _sampled(dataset: Dataset, folds: int) -> Iterator[tuple[dict[str, Path], float, int]]:
    """Records of some subjects, all of them in every fold, so that any training finds some.

    Yields:
        Plane -> folder of Examples, bytes, subjects.
    """
    places = np.unique(np.linspace(0, len(dataset.labeled) - 1, SAMPLE).round().astype(int))
    some = replace(dataset, scans=tuple(dataset.labeled[place] for place in places), conflicts=())
    log.info(
        "no records of this configuration yet: reading %d of %d subjects", len(places), len(dataset.labeled)
    )
    checked = check_dataset(some)
    with tempfile.TemporaryDirectory(prefix="raxnet-dry-run-") as folder:
        store = RecordStore(Path(folder) / "store", "sample")
        examples = {plane: Path(folder) / plane for plane in PLANES}
        for scan in checked.usable:
            image, mask = read_subject(scan, checked.grid)
            slices = {plane: slices_of(scan.subject, image, mask, plane) for plane in PLANES}
            entry = store.add(scan.subject, slices)
            for plane, fold in product(PLANES, range(1, folds + 1)):
                place(entry, plane, examples[plane], fold, scan.subject)
        for where in examples.values():
            Facts(dataset.name, dataset.phantom, "sample", "sample", checked.grid).write(where)
        yield examples, store.bytes_kept(), len(checked.usable)
