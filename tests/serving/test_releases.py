"""Releases listed, and returned to: earlier models come back as new versions, and nothing that was released changes."""

import json
import shutil

import pytest

from lesions.slices import PLANES
from pipeline.cli.main import main
from serving import releases
from serving.predictor import folder_digest
from tests.serving.conftest import make_card


def version(models, plane, number, content):
    folder = models / plane / str(number)
    make_card(plane).write(folder)
    (folder / "saved_model.pb").write_text(content)
    (folder / "variables").mkdir()
    (folder / "variables/variables.index").write_text(content)
    return folder


def release(models, number, content, planes=PLANES):
    """Versions of planes, and what the pipeline's Release writes of them."""
    said = {}
    for plane in planes:
        digest = folder_digest(version(models, plane, number, content))
        said[plane] = {"version": number, "sha256": digest, "dataset": "RAX-Net phantom (seed 0)"}
    holdout = {"fused": {"dice": number / 10, "n": 6}}
    return releases.publish({"models": said, "holdout": holdout}, models / "releases")["id"]


@pytest.fixture
def models(tmp_path):
    return tmp_path / "serving_models"


def files(models):
    return {path: path.read_bytes() for path in models.rglob("*") if path.is_file() and path.name != ".lock"}


def test_an_earlier_release_comes_back_as_the_newest(models, capsys):
    first, second = release(models, 5, "first"), release(models, 6, "second")
    before = files(models)
    assert main(["rollback", first, "--models", str(models), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made == releases.newest_release(models)
    assert (made["restores"], made["holdout"]) == (first, {"fused": {"dice": 0.5, "n": 6}})
    assert releases.versions(made) == releases.served(models)
    for plane, number in releases.versions(made).items():
        assert number > 6
        assert folder_digest(models / plane / str(number)) == made["models"][plane]["sha256"]
        assert (models / plane / str(number) / "saved_model.pb").read_text() == "first"
    assert before.items() <= files(models).items()  # and the way forth goes as the way back
    assert main(["rollback", second, "--models", str(models)]) == 0
    newest = releases.newest_release(models)
    assert newest["restores"] == second
    assert {m["sha256"] for m in newest["models"].values()} == {
        folder_digest(models / plane / "6") for plane in PLANES
    }


def test_what_is_served_already_is_not_served_twice(models, capsys):
    first = release(models, 5, "first")
    before = files(models)
    assert main(["rollback", first, "--models", str(models)]) == 0
    assert f"{first} is served already: axial 5" in capsys.readouterr().out
    assert files(models) == before


def test_a_release_that_came_back_twice_restores_the_first_of_them(models):
    first = release(models, 5, "first")
    release(models, 6, "second")
    back = releases.roll_back(models, first)["id"]
    release(models, releases.served(models)["axial"] + 1, "third")
    assert releases.roll_back(models, back)["restores"] == first


def test_the_list_says_which_is_served_and_what_it_scored(models, capsys):
    first, second = release(models, 5, "first"), release(models, 6, "second")
    assert main(["rollback", "--models", str(models), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["release"], one["served"], one["holdout_dice"]) for one in listed] == [
        (first, False, 0.5),
        (second, True, 0.6),
    ]
    (models / "releases/damaged.json").write_text('{"models": 3')
    assert main(["rollback", "--models", str(models)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == [first, second]
    assert "now" not in lines[2]
    assert "now" in lines[3]


def lost(models, first):
    shutil.rmtree(models / "coronal/5")
    return "coronal/5: gone"


def changed(models, first):
    (models / "sagittal/5/saved_model.pb").write_text("another")
    return f"sagittal/5: not what was released as {first}"


def unknown(models, first):
    (models / f"releases/{first}.json").unlink()
    return f"no release {first}"


@pytest.mark.parametrize("damage", [lost, changed, unknown])
def test_what_cannot_come_back_leaves_all_as_it_is(models, capsys, damage):
    first = release(models, 5, "first")
    release(models, 6, "second")
    said = damage(models, first)
    before = files(models)
    assert main(["rollback", first, "--models", str(models)]) == 2
    assert said in capsys.readouterr().err
    assert files(models) == before


def test_a_plane_that_the_release_lacks_must_not_go_on_beside_it(models, capsys):
    first = release(models, 5, "first", planes=["axial"])
    release(models, 6, "second")
    assert main(["rollback", first, "--models", str(models)]) == 2
    assert "sagittal, coronal would go on being served" in capsys.readouterr().err
    for plane in ("sagittal", "coronal"):
        (models / plane).rename(models.with_name(plane))
    assert main(["rollback", first, "--models", str(models)]) == 0
    assert set(releases.served(models)) == {"axial"}


def test_no_plane_takes_its_place_before_all_are_copied(models, monkeypatch):
    """A server would mix releases for as long as a copy takes."""
    first = release(models, 5, "first")
    release(models, 6, "second")
    copy, seen = shutil.copytree, []

    def watched(source, target, *more):
        copy(source, target, *more)
        if more:
            return  # a folder in the model
        seen.append(releases.served(models))
        if len(seen) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copytree", watched)
    before = files(models)
    with pytest.raises(KeyboardInterrupt):
        releases.roll_back(models, first)
    assert seen == [dict.fromkeys(PLANES, 6)] * 3
    assert files(models) == before


def test_a_folder_without_releases(tmp_path, capsys):
    assert main(["rollback", "--models", str(tmp_path)]) == 2
    assert "no release here" in capsys.readouterr().err
