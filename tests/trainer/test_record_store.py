"""Records by content: made once, whole or not at all, whoever writes and whoever is killed."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from lesions.dataset import Scan
from lesions.errors import InputError
from lesions.grid import Grid
from lesions.slices import Slice
from trainer import record_store, records
from trainer.record_store import RecordStore, place

GRID = Grid.of((4, 5, 6), np.eye(4))


def slices(plane, count=3, value=7):
    for index in range(count):
        yield Slice("sub-a", plane, index, 2, 2, bytes([value] * 8), bytes(4), 0, 0)


def both(count=3, value=7):
    return {plane: slices(plane, count, value) for plane in ("axial", "coronal")}


@pytest.fixture
def scan(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"scan")
    (tmp_path / "m.nii").write_bytes(b"mask")
    return Scan("sub-a", "ses-1", tmp_path / "a.nii", tmp_path / "m.nii")


@pytest.fixture
def store(tmp_path):
    return RecordStore(tmp_path / "records", "c1")


def test_the_key_is_the_content_and_nothing_else(store, scan, tmp_path):
    key = store.key(scan, GRID)
    (tmp_path / "moved.nii").write_bytes(b"scan")
    assert store.key(replace(scan, image=tmp_path / "moved.nii", session="ses-2"), GRID) == key
    others = [
        store.key(replace(scan, subject="sub-b"), GRID),
        store.key(replace(scan, image=scan.mask, mask=scan.image), GRID),
        store.key(scan, Grid.of((4, 5, 7), np.eye(4))),
        store.key(scan, Grid.of((4, 5, 6), 2 * np.eye(4))),
    ]
    scan.mask.write_bytes(b"masc")
    others.append(store.key(scan, GRID))
    assert len({key, *others}) == 6


def test_a_scan_that_is_gone_is_named(store, scan):
    scan.image.unlink()
    with pytest.raises(InputError, match=r"a\.nii: cannot be read"):
        store.key(scan, GRID)


def test_what_was_added_is_found_and_placed(store, tmp_path):
    assert store.find("k") is None
    entry = store.add("k", both())
    assert store.find("k") == entry
    for fold in (1, 2):
        place(entry, "axial", tmp_path / f"examples{fold}", fold, "sub-a")
        shard = records.shard_path(tmp_path / f"examples{fold}", fold, "sub-a")
        assert shard.stat().st_ino == (entry / "axial.tfrecord").stat().st_ino  # a link, not a copy
        rows = np.load(records.index_path(tmp_path / f"examples{fold}", fold, "sub-a"))
        assert records.shard_bytes(rows) == shard.stat().st_size > 0
        assert not list((tmp_path / f"examples{fold}/partial").iterdir())


def test_placing_again_leaves_one_file(store, tmp_path):
    entry = store.add("k", both())
    for _ in range(2):
        place(entry, "axial", tmp_path / "examples", 1, "sub-a")
    assert [p.name for p in (tmp_path / "examples").rglob("*") if p.is_file()].count("sub-a.tfrecord") == 1
    assert not list((tmp_path / "examples/partial").iterdir())


def test_without_hard_links_it_is_copied(store, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(record_store.os, "link", refuse)
    entry = store.add("k", both())
    place(entry, "axial", tmp_path / "examples", 1, "sub-a")
    shard = records.shard_path(tmp_path / "examples", 1, "sub-a")
    assert shard.read_bytes() == (entry / "axial.tfrecord").read_bytes()
    assert shard.stat().st_ino != (entry / "axial.tfrecord").stat().st_ino


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    "harm",
    [
        lambda entry: cut(entry / "axial.tfrecord"),
        lambda entry: cut(entry / "coronal.npy"),
        lambda entry: (entry / "coronal.npy").write_bytes(bytes((entry / "coronal.npy").stat().st_size)),
        lambda entry: (entry / "axial.tfrecord").unlink(),
        lambda entry: (entry / "entry.json").write_text("{"),
        lambda entry: (entry / "entry.json").write_text("[]"),
        lambda entry: (entry / "entry.json").unlink(),
    ],
)
def test_a_damaged_entry_is_removed_and_made_again(store, harm):
    entry = store.add("k", both())
    harm(entry)
    assert store.find("k") is None
    assert not entry.exists()
    assert store.find("k") is None
    store.add("k", both())
    assert store.find("k") == entry


def test_a_writer_that_fails_leaves_nothing(store):
    def bad():
        yield from slices("axial")
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        store.add("k", {"axial": bad()})
    assert store.find("k") is None
    assert not [path for path in store.folder.rglob("*") if path.is_file()]


def test_writers_at_once_make_one_entry_and_do_not_disturb_each_other(store):
    start, made = threading.Barrier(4), []

    def write():
        start.wait()
        made.append(store.add("k", both(50)))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(made) == {store.folder / "c1/k"}
    assert len(made) == 4
    assert store.find("k") is not None
    assert not list((store.folder / "partial").iterdir())


def test_other_code_has_entries_of_its_own_until_it_is_tidied(store):
    old = RecordStore(store.folder, "c0")
    old.add("k", both(value=1))
    assert store.find("k") is None
    entry = store.add("k", both(value=2))
    (store.folder / "partial/left").mkdir()
    assert store.bytes_kept() == sum(path.stat().st_size for path in entry.iterdir())
    store.tidy()
    assert [path.name for path in store.folder.iterdir()] == ["c1"]
    assert store.find("k") == entry
