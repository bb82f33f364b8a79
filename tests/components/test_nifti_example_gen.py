"""NiftiExampleGen: every file opened once, the same bytes from any number of workers, errors that name the subject."""

import collections
import os
import resource
import shutil
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components import artifacts, nifti_example_gen
from components.nifti_example_gen import LOCAL, MOST_THREADS, Executor, with_threads
from lesions import nifti
from lesions.dataset import Scan
from lesions.errors import InputError, WorkError
from lesions.grid import Grid, Volume
from lesions.ingest import projected_bytes
from lesions.manifest import Manifest
from lesions.slices import PLANES, Slice
from lesions.statistics import compute_tables
from trainer import input, records

SHAPE = (48, 56, 40)
GRID = Grid.of(SHAPE, np.diag([4.0, 4.0, 4.0, 1.0]))
SUBJECTS = [f"sub-r001s{number:03d}" for number in range(1, 7)]
BEAM = [LOCAL, "--sdk_container_image=unused"]
OPENED = collections.Counter()


def artifact(kind, uri):
    made = kind()
    made.uri = str(uri)
    return made


def write_scan(folder, subject, seed):
    rng = np.random.default_rng(seed)
    data = np.zeros(SHAPE, np.int16)
    data[4:-4, 4:-4, 3:-3] = rng.integers(1, 900, (40, 48, 34))
    mask = np.zeros(SHAPE, np.uint8)
    mask[10 : 12 + seed, 12:20, 9:15] = 1
    scan = Scan(subject, "", folder / f"{subject}_T1w.nii.gz", folder / f"{subject}_mask.nii.gz")
    nifti.write(scan.image, Volume(data, GRID))
    nifti.write(scan.mask, Volume(mask, GRID))
    return scan


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    made = [write_scan(folder, subject, seed) for seed, subject in enumerate(SUBJECTS)]
    compute_tables(made).write(folder / "tables")
    return made


def ingest(folder, scans, *arguments, grid=GRID, store=None):
    """Runs the component's executor; returns the Examples folder of each plane."""
    Manifest("made up", False, "cohort", "0", grid, tuple(scans), (), ()).write(folder / "manifest")
    (folder / "folds").mkdir(parents=True)
    folds = [number % 3 for number in range(len(scans))] if len(scans) > 1 else [1]
    table = pd.DataFrame({"subject": [scan.subject for scan in scans], "fold": folds})
    table.to_csv(folder / "folds/folds.csv", index=False)
    inputs = {
        "manifest": [artifact(artifacts.Manifest, folder / "manifest")],
        "fold_map": [artifact(artifacts.FoldMap, folder / "folds")],
        "tables": [artifact(artifacts.LesionTables, scans[0].image.parent / "tables")],
    }
    outputs = {f"examples_{p}": [artifact(standard_artifacts.Examples, folder / p)] for p in PLANES}
    context = Executor.Context(
        beam_pipeline_args=[*BEAM, *arguments], tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    kept = {"store": str(store or folder / "records"), "record_code": "r1"}
    Executor(context).Do(inputs, outputs, kept | {"code": "x"})
    return {plane: folder / plane for plane in PLANES}


def contents(folders):
    """Every file below the Examples folders, by plane and name."""
    return {
        f"{plane}/{path.relative_to(folder)}": path.read_bytes()
        for plane, folder in folders.items()
        for path in folder.rglob("*")
        if path.is_file()
    }


def count_opened(event, arguments):
    if event == "open" and isinstance(arguments[0], str | os.PathLike):
        OPENED[os.fspath(arguments[0])] += 1


def test_three_planes_of_every_subject_from_files_that_are_opened_to_know_and_to_read_them(tmp_path, scans):
    sys.addaudithook(count_opened)  # stays until the process ends, and only counts
    OPENED.clear()
    folders = ingest(tmp_path, scans)
    opened = {path: count for path, count in OPENED.items() if path.endswith(".nii.gz")}
    used = [scan for number, scan in enumerate(scans) if number % 3]
    assert opened == {str(path): 2 for scan in used for path in (scan.image, scan.mask)}
    written = sum(len(content) for content in contents(folders).values())
    assert 0.7 * projected_bytes(GRID, len(used)) < written < projected_bytes(GRID, len(used))
    for plane, folder in folders.items():
        index = input.read_index(folder, [1, 2])
        assert sorted(index.subjects) == sorted(scan.subject for scan in used)
        lesions = sum(int(nifti.read_mask(scan.mask).data.sum()) for scan in used)
        assert index.rows["lesion_voxels"].sum() == lesions, plane
        assert not (folder / "partial").exists()


def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path, scans, monkeypatch):
    made = []
    for workers in ("1", "2", "4"):
        monkeypatch.setenv("RAXNET_WORKERS", workers)
        made.append(contents(ingest(tmp_path / workers, scans)))
    assert len(made[0]) == 3 * (2 * 4 + 1)  # shard and index of four subjects, and the facts
    assert made[0] == made[1] == made[2]


@pytest.mark.slow  # two worker processes import TensorFlow first
def test_nor_on_their_being_processes(tmp_path, scans):
    processes = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    one = ingest(tmp_path / "one", scans, "--direct_num_workers=1")
    assert contents(one) == contents(ingest(tmp_path / "two", scans, *processes))


def test_workers_are_threads_on_the_local_runner_unless_somebody_said_otherwise():
    added = with_threads(BEAM, 3)
    assert added == [*BEAM, "--direct_running_mode=multi_threading", "--direct_num_workers=3"]
    assert with_threads(BEAM, 1000)[-1] == f"--direct_num_workers={MOST_THREADS}"
    for given in (["--runner=PortableRunner"], [], [*BEAM, "--direct_num_workers=1"]):
        assert with_threads(given, 3) == given


def cut_short(scan, folder):
    path = folder / scan.image.name
    path.write_bytes(scan.image.read_bytes()[:-300])
    return replace(scan, image=path)


@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_file_that_went_bad_after_the_checks_is_named(tmp_path, scans, monkeypatch, workers):
    monkeypatch.setenv("RAXNET_WORKERS", workers)
    damaged = [*scans[:4], cut_short(scans[4], tmp_path), scans[5]]
    with pytest.raises(InputError, match=f"{SUBJECTS[4]}_T1w.nii.gz: cannot be read to its end") as told:
        ingest(tmp_path / "out", damaged)
    assert "\n" not in str(told.value)
    assert not list((tmp_path / "out").glob(f"*/Split-*/{SUBJECTS[4]}*"))


@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_worker_without_memory_names_its_subject(tmp_path, scans, monkeypatch, workers):
    monkeypatch.setenv("RAXNET_WORKERS", workers)
    reader = nifti_example_gen.read_subject

    def short_of_memory(scan, grid):
        if scan.subject == SUBJECTS[1]:
            np.empty(2**60, np.uint8)  # more than any machine has: a MemoryError that NumPy raises
        return reader(scan, grid)

    monkeypatch.setattr(nifti_example_gen, "read_subject", short_of_memory)
    with pytest.raises(WorkError, match=rf"{SUBJECTS[1]}: .*out of memory.*fewer `workers`"):
        ingest(tmp_path, scans)


def test_a_disk_that_fills_up_leaves_no_half_shard(tmp_path, scans):
    """The limit on a file's size makes the operating system refuse to write, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(WorkError, match=r"sub-r001s\d+: .*File too large; free some space"):
            ingest(tmp_path, scans)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.glob("records/partial/*"))
    assert not [path for path in tmp_path.glob("records/r1/*") if not (path / "entry.json").is_file()]
    for shard in tmp_path.glob("*/Split-*/*"):
        assert shard.suffix == ".tfrecord"
        assert sum(1 for _ in tf.data.TFRecordDataset(str(shard))) > 0  # raises where its end is missing


def test_a_record_takes_no_more_than_is_planned_for(tmp_path):
    """The last slice of a large volume, and a subject whose id has 64 letters."""
    pixels = 200 * 230
    subject = "sub-" + 60 * "x"
    record = Slice(subject, "sagittal", 232, 200, 230, bytes(2 * pixels), bytes(pixels), pixels, 6)
    records.write_shard(tmp_path, 1, subject, [record] * 100)
    files = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
    planned = projected_bytes(Grid.of((100, 200, 230), np.eye(4)), 1) - projected_bytes(
        Grid.of((1, 200, 230), np.eye(4)), 1
    )
    overhead = (planned - 99 * 3 * 3 * pixels) // 99  # of one slice more
    assert sum(files) <= 100 * (3 * pixels + overhead)


def test_a_shard_that_fails_leaves_nothing(tmp_path):
    def records_that_end_badly():
        raise ValueError("no more")
        yield

    with pytest.raises(ValueError, match="no more"):
        records.write_shard(tmp_path, 1, "sub-a", records_that_end_badly())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_disk_that_is_too_full(tmp_path, monkeypatch):
    scan = Scan("sub-r001s001", "ses-1", tmp_path / "a_T1w.nii.gz", tmp_path / "a_mask.nii.gz")
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    with pytest.raises(InputError, match=r"needs about 0\.1 GB, found 0\.0 GB free; free some space"):
        ingest(tmp_path, [scan], grid=Grid.of((197, 233, 189), np.eye(4)))
    assert not (tmp_path / "axial").exists()
