import json

import pandas as pd
import pytest

from lesions.files import read_table
from pipeline.cli.main import main


@pytest.fixture
def folds(tmp_path):
    paths = []
    for k in (1, 2):
        rows = "\n".join(f"s{i // 3},{i},{i * k},{(i * 7) % 5},{i % 3}" for i in range(12))
        paths.append(tmp_path / f"fold_{k}.csv")
        paths[-1].write_text(f"subject,slice,tp,fp,fn\n{rows}\n")
    return paths


def test_tables_figure_and_rows_are_written(folds, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["evaluate", *map(str, folds), "--plane", "sagittal", "--out", str(out)]) == 0
    names = {"categories.csv", "folds.csv", "over_folds.csv", "pooled.csv", "summary.csv"}
    assert {path.name for path in out.iterdir()} == names | {
        "slices.csv",
        "slices.parquet",
        "dice.png",
        "tables.md",
    }
    pd.testing.assert_frame_equal(
        read_table(out / "slices.csv"), read_table(out / "slices.parquet").astype({"fold": int})
    )
    assert "Plane: sagittal, as --plane says." in capsys.readouterr().out
    assert "| mean of 2 folds |" in (out / "tables.md").read_text()
    assert (out / "dice.png").read_bytes().startswith(b"\x89PNG")


def test_the_plane_that_is_given_overrides_the_name(folds, tmp_path, capsys):
    named = folds[0].rename(tmp_path / "axial_fold_1.csv")
    assert main(["evaluate", str(named), "--plane", "coronal", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["plane"] == "coronal"
    assert "Plane: coronal, as --plane says (the files say axial)." in made["notes"]


def test_json_is_json(folds, capsys):
    assert main(["evaluate", str(folds[0]), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["unit"], made["rows"], made["plane"], made["published"]) == ("slices", 12, None, [])
    assert made["folds"][0]["n"] == 12


@pytest.mark.parametrize("spacing", ["0", "-1", "nan"])
def test_bad_spacing(folds, spacing, capsys):
    assert main(["evaluate", str(folds[0]), "--spacing", spacing]) == 2
    assert "--spacing: must be a positive number of mm" in capsys.readouterr().err


def test_spacing_scales_the_categories(folds, capsys):
    main(["evaluate", str(folds[0]), "--plane", "axial", "--spacing", "10", "--json"])
    coarse = json.loads(capsys.readouterr().out)["categories"]
    assert {row["size_category"] for row in coarse} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "subject,slice,tp,fp,fn\na,1,x,0,0\n"])
def test_bad_files_are_one_line(text, tmp_path, capsys):
    (tmp_path / "bad.csv").write_text(text)
    assert main(["evaluate", str(tmp_path / "bad.csv"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("raxnet evaluate: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_published_tables(atlas, capsys):
    paths = sorted(map(str, atlas.glob("published_axial_fold_*.csv")))
    assert main(["evaluate", *paths]) == 0
    text = capsys.readouterr().out
    mean = next(line for line in text.splitlines() if line.startswith("mean of 5 folds")).split()
    assert [cell for cell in mean if cell.startswith("0.")] == [
        "0.7105",
        "0.7802",
        "0.8306",
        "0.5028",
        "0.4865",
        "0.5119",
    ]
    assert (
        "The README states 0.7104 as mean dice over five folds; these rows give 0.71046: truncated." in text
    )
    assert "Plane: axial, as the files say" in text


def test_the_published_fusion(atlas, capsys):
    expected = str(atlas / "published_holdout_subjects.csv")
    assert (
        main(["evaluate", str(atlas / "published_fusion_subjects.csv"), "--expected", expected, "--json"])
        == 0
    )
    made = json.loads(capsys.readouterr().out)
    assert len(made["missing"]) == 20
    assert made["missing_as_0"][0]["mean"] == pytest.approx(0.520, abs=5e-4)
