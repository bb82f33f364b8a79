"""NiftiExampleGen: scans and masks to TFRecord slices of three planes, on any Beam runner.

Only paths move through Beam. One DoFn looks a subject up in the store of records, or reads it and writes its shard of
each plane there, and links them into the artifacts (`trainer.record_store`); images that went through Beam's shuffle
would be held in memory several times over (docs/spec/tfx_stack.md#images-through-beam). On the local runner the
workers are threads: nearly all of the work is done without Python's lock, and processes would each import TensorFlow
first, and leave the run waiting forever if one of them were killed (docs/ingest.md).
"""

import json
import logging
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apache_beam as beam
import pandas as pd
import tensorflow as tf
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.types import artifact_utils, channel_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components import artifacts, record_counts
from components.beam_arguments import WithArguments
from lesions.dataset import Scan
from lesions.errors import InputError, WorkError
from lesions.files import read_table, require_space
from lesions.folds import folds_digest
from lesions.grid import Grid
from lesions.ingest import projected_bytes, read_subject, slices_of
from lesions.manifest import Manifest, read_manifest
from lesions.parallel import usable_workers
from lesions.progress import to_log
from lesions.slices import PLANES
from lesions.statistics import COLUMNS_SLICES
from trainer import job
from trainer.record_store import RecordStore, place

LOCAL = "--runner=FnApiRunner"
MOST_THREADS = 8  # beyond it they wait for Python's lock
_LISTING = 20  # listing shards takes a twentieth of the time at most
FAILED = ".failed"

log = logging.getLogger(__name__)  # to the run's log file only


class WriteSubject(beam.DoFn):
    """Puts a subject's shards into place, from the store where it has them; yields (subject, whether it had)."""

    def __init__(self, folders: dict[str, str], grid: Grid, store: RecordStore):
        """Args: folders: Examples folder of each plane. grid: Of the data set. store: Of records."""
        self.folders, self.grid, self.store = folders, grid, store

    def process(self, element: tuple[Scan, int]) -> Iterator[tuple[str, bool]]:
        """Places the shards of one (scan, fold)."""
        scan, fold = element
        log.info(
            "%s: its records are being written", scan.subject
        )  # the last word of a run that is killed here
        try:
            key = self.store.key(scan, self.grid)
            entry = self.store.find(key)
            known = entry is not None
            if entry is None:
                image, mask = read_subject(scan, self.grid)
                slices = {plane: slices_of(scan.subject, image, mask, plane) for plane in self.folders}
                entry = self.store.add(key, slices)
            for plane, folder in self.folders.items():
                place(entry, plane, Path(folder), fold, scan.subject)
        except Exception as error:
            _note_failure(Path(self.folders[PLANES[0]]), scan.subject, error)
            raise
        yield scan.subject, known


def _note_failure(folder: Path, subject: str, error: Exception) -> None:
    """Leaves word of an error where the executor finds it: Beam's runners pass on its text at best."""
    if isinstance(error, InputError | WorkError):
        said, bad_input = str(error), isinstance(error, InputError)
    else:
        said, bad_input = f"{subject}: its records cannot be written: {_reason(error)}", False
    path = folder / "partial" / f"{subject}{FAILED}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"said": said, "bad_input": bad_input}))


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "out of memory; free some, or set fewer `workers`"
    if isinstance(error, OSError | tf.errors.OpError):
        return f"{str(error).rpartition('; ')[2]}; free some space, or give another root"
    return f"{type(error).__name__}: {error}"


def _failure(folder: Path) -> Exception | None:
    """What the first subject said that failed."""
    for path in sorted((folder / "partial").glob(f"*{FAILED}")):
        content = json.loads(path.read_text())
        return (InputError if content["bad_input"] else WorkError)(content["said"])
    return None


class Executor(WithArguments, base_beam_executor.BaseBeamExecutor):
    """Runs the Beam pipeline, then makes sure that every record is there, once."""

    def Do(
        self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]
    ) -> None:
        """Writes three Examples artifacts with a split per fold; the hold-out is in none of them."""
        manifest = read_manifest(Path(artifact_utils.get_single_uri(input_dict["manifest"])))
        fold_map = pd.read_csv(Path(artifact_utils.get_single_uri(input_dict["fold_map"])) / "folds.csv")
        fold_of = dict(zip(fold_map["subject"], fold_map["fold"].astype(int), strict=True))
        store = RecordStore(Path(exec_properties["store"]), exec_properties["record_code"])
        work = [(scan, fold_of[scan.subject]) for scan in manifest.scans if fold_of[scan.subject] > 0]
        outputs = {p: artifact_utils.get_single_instance(output_dict[f"examples_{p}"]) for p in PLANES}
        folders = {plane: artifact.uri for plane, artifact in outputs.items()}
        if "://" not in folders[PLANES[0]]:  # a bucket has no disk to fill
            remedy = "free some space, or give another root"
            needed = projected_bytes(manifest.grid, len(work)) - store.bytes_kept()
            require_space(folders[PLANES[0]], needed, remedy)
        self._beam_pipeline_args: list[str] = with_threads(self._beam_pipeline_args, usable_workers())
        self._beam_pipeline_args = without_kept_workers(self._beam_pipeline_args)
        try:
            with _progress(Path(folders[PLANES[-1]]), len(work)), self._make_beam_pipeline() as pipeline:
                subjects = pipeline | beam.Create(work) | beam.Reshuffle()
                subjects | beam.ParDo(WriteSubject(folders, manifest.grid, store))
        except Exception as error:
            failure = _failure(Path(folders[PLANES[0]]))
            if failure is None:
                raise
            raise failure from error
        splits = [f"fold_{fold}" for fold in sorted({fold for _, fold in work})]
        tables = Path(artifact_utils.get_single_uri(input_dict["tables"]))
        ingested = {scan.subject: fold for scan, fold in work}
        for plane, artifact in outputs.items():
            slices = read_table(tables / f"slices_{plane}.csv", COLUMNS_SLICES)
            counts = record_counts.check(Path(artifact.uri), ingested, slices)
            log.info("%s: records by fold %s, as many as the lesion tables say", plane, counts)
            _finish(Path(artifact.uri), manifest, folds_digest(fold_map))
            artifact.split_names = artifact_utils.encode_split_names(splits)
            artifact.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
        store.tidy()


def with_threads(arguments: list[str], workers: int) -> list[str]:
    """Beam's arguments with worker threads added where it runs locally and nobody said how.

    How many is a property of the machine, not of the records: it is neither a parameter of the component nor among
    the pipeline's arguments, both of which are part of TFX's cache key.
    """
    if LOCAL not in arguments or any(argument.startswith("--direct_") for argument in arguments):
        return arguments
    threads = min(workers, MOST_THREADS)
    return [*arguments, "--direct_running_mode=multi_threading", f"--direct_num_workers={threads}"]


def without_kept_workers(arguments: list[str]) -> list[str]:
    """Beam's arguments without the wish to keep SDK workers for a job's next stage.

    The ingest has no stage that would need them, and a runner that keeps a worker goes on with it when it is dead.
    """
    return [argument for argument in arguments if not argument.startswith("--environment_cache_millis")]


@contextmanager
def _progress(folder: Path, total: int) -> Iterator[None]:
    """Says every second how many shards there are, whoever writes them; of many thousands less often."""
    progress, stop = to_log("writing records"), threading.Event()

    def watch() -> None:
        pause = 1.0
        while not stop.wait(pause):
            start = time.monotonic()
            progress(len(list(folder.glob("Split-*/*.tfrecord"))), total)
            pause = max(1.0, _LISTING * (time.monotonic() - start))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def _finish(folder: Path, manifest: Manifest, fold_map: str) -> None:
    shutil.rmtree(folder / "partial", ignore_errors=True)
    job.Facts(manifest.name, manifest.phantom, manifest.digest, fold_map, manifest.grid).write(folder)


class NiftiExampleGenSpec(ComponentSpec):
    """Inputs, outputs and parameters of NiftiExampleGen."""

    PARAMETERS = {name: ExecutionParameter(type=str) for name in ("store", "record_code", "code")}  # noqa: RUF012
    INPUTS = {  # noqa: RUF012
        "manifest": ChannelParameter(type=artifacts.Manifest),
        "fold_map": ChannelParameter(type=artifacts.FoldMap),
        "tables": ChannelParameter(type=artifacts.LesionTables),
    }
    OUTPUTS = {  # noqa: RUF012
        f"examples_{plane}": ChannelParameter(type=standard_artifacts.Examples) for plane in PLANES
    }


class NiftiExampleGen(base_beam_component.BaseBeamComponent):
    """Ingests NIfTI into TFRecord slices: three planes always, whatever is trained later."""

    SPEC_CLASS = NiftiExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, manifest: Any, fold_map: Any, tables: Any, store: str, record_code: str, code: str):
        """Args: channels, then folder of the store, digests of the code that makes records and that does this."""
        outputs = {
            f"examples_{plane}": channel_utils.as_channel([standard_artifacts.Examples()]) for plane in PLANES
        }
        inputs = {"manifest": manifest, "fold_map": fold_map, "tables": tables}
        super().__init__(
            spec=NiftiExampleGenSpec(store=store, record_code=record_code, code=code, **inputs, **outputs)
        )
