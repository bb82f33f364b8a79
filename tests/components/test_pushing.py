"""Pushing and releasing: whole or not at all, and no version or release twice."""

import json
import shutil

import pytest

from components.blessing import Gate, bless
from lesions.push import push
from serving.releases import newest_release, publish


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    return folder


def test_pushes_within_one_second_get_a_version_each(model, tmp_path):
    versions = [push(model, tmp_path / "axial") for _ in range(5)]
    assert versions == sorted(set(versions))
    found = {int(path.name) for path in (tmp_path / "axial").iterdir()}
    assert found == set(versions)


def test_a_version_is_never_below_an_older_one(model, tmp_path):
    (tmp_path / "axial" / "99999999999").mkdir(parents=True)
    assert push(model, tmp_path / "axial") == 100_000_000_000


def test_nobody_sees_half_a_version(model, tmp_path, monkeypatch):
    """A server that looks while files are being copied finds no number at all."""
    base, seen, copy = tmp_path / "axial", [], shutil.copy2

    def watched(source, target, **options):
        seen.append([path.name for path in base.iterdir() if path.name.isdigit()])
        return copy(source, target, **options)

    monkeypatch.setattr(shutil, "copy2", watched)
    monkeypatch.setattr(shutil.copytree, "__defaults__", (False, None, watched, False, False))
    version = push(model, base)
    assert seen == [[], []]
    assert (base / str(version) / "variables" / "variables.index").is_file()


def test_an_interrupted_push_leaves_nothing(model, tmp_path, monkeypatch):
    def interrupted(source, target):
        target.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copytree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        push(model, tmp_path / "axial")
    assert not any((tmp_path / "axial").iterdir())


def test_what_a_killed_push_left_is_no_version(model, tmp_path):
    (tmp_path / "axial" / ".staged-5").mkdir(parents=True)
    push(model, tmp_path / "axial")
    assert sum(path.name.isdigit() for path in (tmp_path / "axial").iterdir()) == 1


def test_releases_at_the_same_moment_are_all_kept(tmp_path):
    names = [publish({"i": i}, tmp_path)["id"] for i in range(6)]
    assert len(set(names)) == 6
    written = {json.loads((tmp_path / f"{name}.json").read_text())["i"] for name in names}
    assert written == set(range(6))
    assert len(list(tmp_path.iterdir())) == 6


def test_the_newest_release_is_the_last_one_written(tmp_path):
    assert newest_release(tmp_path) is None
    for number in range(12):  # within a second their ids end in -1, -2, ... -11
        publish({"models": {}, "number": number}, tmp_path / "releases")
        assert newest_release(tmp_path)["number"] == number


@pytest.mark.parametrize(
    ("value", "passes"), [(0.5, True), (0.4, True), (0.39, False), (float("nan"), False)]
)
def test_a_gate_is_a_least_value(tmp_path, artifact, caplog, value, passes):
    artifact = artifact(tmp_path / "blessing")
    table = bless(artifact, [Gate("one", 0.0, 1.0), Gate("fused Dice", 0.4, value)])
    assert artifact.get_int_custom_property("blessed") == int(passes)
    assert table["passed"].tolist() == [True, passes]
    assert ("fused Dice" in caplog.text) is not passes
    assert (tmp_path / "blessing" / ("BLESSED" if passes else "NOT_BLESSED")).is_file()
