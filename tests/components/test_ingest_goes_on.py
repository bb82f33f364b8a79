"""The ingest writes nobody's records twice: killed, extended, with another fold map, with one mask mended."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.components.test_nifti_example_gen import contents, ingest, scans

ROOT = Path(__file__).parents[2]
__all__ = ["scans"]  # the fixture

RUN = """
import sys
from pathlib import Path
from lesions.dataset import discover
from tests.components.test_nifti_example_gen import ingest
import components.nifti_example_gen as gen
slow = gen.read_subject
def slowly(scan, grid):
    import time
    time.sleep(float(sys.argv[3]))
    return slow(scan, grid)
gen.read_subject = slowly
from tests.components.test_ingest_goes_on import listed
ingest(Path(sys.argv[2]), listed(Path(sys.argv[1])), store=Path(sys.argv[4]))
"""


def listed(folder):
    """The scans of a folder, in order."""
    from lesions.dataset import Scan

    images = sorted(folder.glob("*_T1w.nii.gz"))
    names = [path.name.removesuffix("_T1w.nii.gz") for path in images]
    masks = [next(folder.glob(f"{name}*mask.nii.gz")) for name in names]
    return [Scan(n, "ses-1", image, mask) for n, image, mask in zip(names, images, masks, strict=True)]


def kept(store):
    """Entry -> inode and time of its files."""
    entries = [path for path in (store / "r1").iterdir() if (path / "entry.json").is_file()]
    return {e.name: {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in e.iterdir()} for e in entries}


def wait_for_entries(store, count, process):
    while len(list(store.glob("r1/*/entry.json"))) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_killed_it_goes_on_where_it_was(tmp_path, scans):
    folder, store = scans[0].image.parent, tmp_path / "records"
    words = [sys.executable, "-c", RUN, folder, tmp_path / "killed", "0.4", store]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RAXNET_WORKERS": "1"}
    with subprocess.Popen(words, cwd=ROOT, env=environment, stderr=subprocess.PIPE) as process:
        wait_for_entries(store, 2, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    before = kept(store)
    assert 2 <= len(before) < 4
    folders = ingest(tmp_path / "second", listed(folder), store=store)
    after = kept(store)
    assert len(after) == 4
    assert {name: after[name] for name in before} == before  # not touched
    whole = contents(ingest(tmp_path / "whole", listed(folder), store=tmp_path / "other"))
    assert contents(folders) == whole
    assert sorted(path.name for path in store.iterdir()) == ["r1"]  # what the killed one left is gone


def test_another_fold_map_and_another_subject_rewrite_nobody(tmp_path, scans):
    store = tmp_path / "records"
    ingest(tmp_path / "one", scans[:4], store=store)  # folds 0 1 2 0
    before = kept(store)
    assert len(before) == 2
    ingest(
        tmp_path / "two", [scans[4], scans[2], scans[1], scans[0], scans[5]], store=store
    )  # folds 0 1 2 0 1
    after = kept(store)
    assert {name: after[name] for name in before} == before
    assert len(after) == 2 + 1
    placed = {(path.parent.name, path.stem) for path in (tmp_path / "two").glob("axial/Split-*/*")}
    folds = {1: (scans[2], scans[5]), 2: (scans[1],)}
    assert placed == {(f"Split-fold_{fold}", scan.subject) for fold, some in folds.items() for scan in some}


def test_a_mended_mask_is_ingested_again_and_no_other(tmp_path, scans):
    from dataclasses import replace

    store = tmp_path / "records"
    first = ingest(tmp_path / "one", scans, store=store)
    before = kept(store)
    image = tmp_path / "again_T1w.nii.gz"
    shutil.copy(scans[1].image, image)
    content = bytearray(image.read_bytes())
    content[4:8] = b"\1\0\0\0"  # gzip's time: other bytes, the same voxels
    image.write_bytes(content)
    second = ingest(tmp_path / "two", [scans[0], replace(scans[1], image=image), *scans[2:]], store=store)
    after = kept(store)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 1
    assert contents(first) == contents(second)


@pytest.mark.parametrize("name", ["axial.tfrecord", "sagittal.npy"])
def test_an_entry_that_was_cut_short_is_made_again(tmp_path, scans, name):
    store = tmp_path / "records"
    whole = contents(ingest(tmp_path / "one", scans, store=store))
    entry = sorted((store / "r1").iterdir())[0]
    damaged = entry / name
    content = damaged.read_bytes()
    damaged.unlink()  # a link: the artifact keeps its own
    damaged.write_bytes(content[: len(content) // 2])
    assert contents(ingest(tmp_path / "two", scans, store=store)) == whole


def test_deleting_the_store_harms_no_artifact(tmp_path, scans):
    store = tmp_path / "records"
    folders = ingest(tmp_path / "one", scans, store=store)
    before = contents(folders)
    shutil.rmtree(store)
    assert contents(folders) == before
