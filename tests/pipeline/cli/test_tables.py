"""`raxnet stats`, `folds` and `batches`, one after the other as a person would."""

import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from pipeline.cli.main import main

SHAPE = (20, 22, 18)


def save(root, number, radius):
    subject = f"sub-r001s{number:03d}"
    anat = root / "Training" / "R001" / subject / "ses-1" / "anat"
    anat.mkdir(parents=True)
    image = np.zeros(SHAPE, np.float32)
    image[2:-2, 2:-2, 2:-2] = 50
    distance = np.sqrt(sum((g - 9.0) ** 2 for g in np.indices(SHAPE)))
    mask = (distance <= radius).astype(np.uint8)
    for data, name in ((image, "T1w"), (mask, "label-L_desc-T1lesion_mask")):
        nib.save(nib.Nifti1Image(data, np.diag([4.0, 4, 4, 1])), anat / f"{subject}_ses-1_{name}.nii.gz")
    return mask


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    masks = [save(folder / "data", number, 1 + number % 6) for number in range(1, 13)]
    assert main(["stats", str(folder / "data"), str(folder / "tables")]) == 0
    assert main(["folds", str(folder / "tables"), str(folder / "split"), "--folds", "3", "--seed", "1"]) == 0
    return folder, masks


def plan(folder, out, *options):
    arguments = ["--plane", "axial", "--validation-fold", "2", "--batch-size", "8", *options]
    return main(
        ["batches", str(folder / "tables"), str(folder / "split" / "folds.csv"), str(out), *arguments]
    )


def test_stats(work):
    folder, masks = work
    names = {path.name for path in (folder / "tables").iterdir()}
    assert {"lesions_3d.csv", "lesions_axial.csv", "slices_coronal.csv", "grid.json", "sizes_3d.png"} <= names
    frame = pd.read_csv(folder / "tables" / "lesions_3d.csv")
    assert list(frame.columns) == ["subject", "lesions", "voxels", "largest", "sizes"]
    assert frame["voxels"].tolist() == [int(mask.sum()) for mask in masks]


def test_what_no_table_has_is_named(work, tmp_path, capsys):
    """Two scans of one session, and one without a mask."""
    data = tmp_path / "data"
    shutil.copytree(work[0] / "data", data)
    first, second, *_ = sorted(data.rglob("*_T1w.nii.gz"))
    other = data.joinpath(*(p.replace("R001", "R002") for p in first.relative_to(data).parts))
    other.parent.mkdir(parents=True)
    shutil.copy(first, other)
    next(second.parent.glob("*_mask.nii.gz")).unlink()
    assert main(["stats", str(data), str(tmp_path / "tables")]) == 0
    said = capsys.readouterr().out
    assert f"left out: {first.relative_to(data)}: duplicate subject, expected one T1w scan" in said
    assert "left out: 1 without a lesion mask" in said
    assert len(pd.read_csv(tmp_path / "tables" / "lesions_3d.csv")) == len(work[1]) - 2


def figures(folder):
    return {path.name for path in folder.glob("*.png")}


SIZES = {f"sizes_{table}.png" for table in ("3d", "axial", "sagittal", "coronal")}


def test_figures_of_scans_outside_mni_space(work, tmp_path, capsys):
    folder, _ = work
    assert figures(folder / "tables") == SIZES | {"locations.png"}
    split = {"split.png", *(name.replace("sizes", "folds") for name in SIZES)}
    assert figures(folder / "split") == SIZES | split | {"locations.png"}
    assert main(["stats", str(folder / "data"), str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "no metadata sheet found: locations are approximate" in said
    assert "no frequency.png: the scans' grid does not cover the MNI152 template" in said


def test_figures_without_images(atlas, tmp_path, capsys):
    """The real tables: their figures are drawn, and what needs masks is said to be missing."""
    assert main(["folds", str(atlas), str(tmp_path)]) == 0
    names = {f"{kind}_{table}.png" for kind in ("sizes", "folds") for table in ("3d", "axial", "sagittal")}
    assert figures(tmp_path) == names | {"split.png"}
    said = capsys.readouterr().out
    assert "no locations.png: these tables have no locations.csv" in said
    assert "no frequency.png: these tables have no lesion_frequency.nii.gz" in said


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "data"
    assert main(["phantom", str(folder), "--subjects", "3", "--spacing", "5", "--workers", "1"]) == 0
    return folder


SHEET = "Subject ID,# Lesions LH Cortical and White Matter,# Lesions Other Location\nR001S001,0,2\n"


def test_phantoms_are_located_and_mapped_and_named_as_such(phantom, tmp_path, capsys):
    (phantom / "a_metadata.csv").write_text(SHEET)
    assert main(["stats", str(phantom), str(tmp_path)]) == 0
    said = capsys.readouterr().out
    (phantom / "a_metadata.csv").unlink()
    assert figures(tmp_path) == SIZES | {"locations.png", "frequency.png"}
    for line in (
        f"metadata sheet {phantom / 'a_metadata.csv'}",
        "no column for lh_subcortical, rh_cortical, rh_subcortical: taken as no lesion there",
        "1 of 3 subjects have their lesion locations in it",
    ):
        assert line in said
    assert '"phantom": true' in (tmp_path / "about.json").read_text()
    subjects = pd.read_csv(tmp_path / "locations_subjects.csv").set_index("subject")
    assert subjects["source"].tolist() == ["metadata", "approximate", "approximate"]
    assert subjects.loc["sub-r001s001", "other"] == 2
    lesions = pd.read_csv(tmp_path / "locations.csv")
    table = pd.read_csv(tmp_path / "lesions_3d.csv")
    assert len(lesions) == table["lesions"].sum()
    assert lesions["voxels"].sum() == table["voxels"].sum()
    counts = np.asanyarray(nib.load(tmp_path / "lesion_frequency.nii.gz").dataobj)
    masks = [np.asanyarray(nib.load(path).dataobj) > 0 for path in phantom.rglob("*mask.nii.gz")]
    assert (counts == np.sum(masks, axis=0)).all()
    summary = pd.read_csv(tmp_path / "locations_summary.csv")
    assert summary.groupby("source")["of_subjects"].first().to_dict() == {"approximate": 2, "metadata": 1}


def test_a_named_sheet_that_is_none_stops_before_the_work(phantom, tmp_path, capsys):
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("name,age\nx,1\n")
    out = tmp_path / "out"
    assert main(["stats", str(phantom), str(out), "--metadata", str(sheet)]) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1
    assert str(sheet) in err[0]
    assert not out.exists()
    sheet.write_text(SHEET)
    assert main(["stats", str(phantom), str(out), "--metadata", str(sheet)]) == 0


def test_folds(work):
    folder, _ = work
    frame = pd.read_csv(folder / "split" / "folds.csv")
    assert list(frame.columns) == ["subject", "fold"]
    assert frame["subject"].is_unique
    assert sorted(frame["fold"].value_counts().loc[[1, 2, 3]]) in ([3, 3, 4], [3, 3, 3])
    report = pd.read_csv(folder / "split" / "folds_quality.csv")
    assert set(report["table"]) == {"3d", "axial", "sagittal", "coronal"}
    assert (report["n"] > 0).all()


def test_same_seed_same_bytes(work, tmp_path):
    folder, _ = work
    assert main(["folds", str(folder / "tables"), str(tmp_path), "--folds", "3", "--seed", "1"]) == 0
    assert (tmp_path / "folds.csv").read_bytes() == (folder / "split" / "folds.csv").read_bytes()


def test_imported_map(work, tmp_path, capsys):
    folder, _ = work
    own = folder / "split" / "folds.csv"
    assert main(["folds", str(folder / "tables"), str(tmp_path / "out"), "--import", str(own)]) == 0
    assert (tmp_path / "out" / "folds.csv").read_bytes() == own.read_bytes()
    twice = tmp_path / "twice.csv"
    twice.write_text(own.read_text() + "sub-r001s001,1\n")
    assert main(["folds", str(folder / "tables"), str(tmp_path / "bad"), "--import", str(twice)]) == 2
    assert "sub-r001s001 is there twice" in capsys.readouterr().err
    assert not (tmp_path / "bad").exists()


def test_batches(work, tmp_path, capsys):
    folder, _ = work
    assert plan(folder, tmp_path) == 0
    assert "theoretical minimum" in capsys.readouterr().out
    frame = pd.read_csv(tmp_path / "batches.csv")
    assert list(frame.columns) == ["batch", "subject", "slice", "category"]
    fold = pd.read_csv(folder / "split" / "folds.csv").set_index("subject")["fold"]
    assert not set(fold.loc[frame["subject"]]) & {0, 2}
    lesions = pd.read_csv(folder / "tables" / "lesions_axial.csv")
    lesions = lesions[~fold.loc[lesions["subject"]].isin([0, 2]).to_numpy()]
    drawn = frame[frame["category"] > 0]
    assert sorted(zip(drawn["subject"], drawn["slice"], strict=True)) == sorted(
        zip(lesions["subject"], lesions["slice"], strict=True)
    )
    normal = frame[frame["category"] == 0]
    assert len(normal) == len(drawn)
    slices = pd.read_csv(folder / "tables" / "slices_axial.csv").set_index(["subject", "slice"])
    chosen = slices.loc[list(zip(normal["subject"], normal["slice"], strict=True))]
    assert (chosen["lesion_voxels"] == 0).all()
    assert (chosen["nonzero"] > 0).all()
    report = pd.read_csv(tmp_path / "batches_quality.csv")
    assert report["mean_tv"].iloc[0] == pytest.approx(report["minimum_tv"].iloc[0])


def test_epochs_differ_and_seeds_repeat(work, tmp_path):
    folder, _ = work
    texts = []
    for out, epoch in (("a", "0"), ("b", "0"), ("c", "1")):
        assert plan(folder, tmp_path / out, "--epoch", epoch) == 0
        texts.append((tmp_path / out / "batches.csv").read_text())
    assert texts[0] == texts[1] != texts[2]


def test_lesion_halves_alone_are_announced(work, tmp_path, capsys):
    folder, _ = work
    tables = tmp_path / "tables"
    tables.mkdir()
    for name in ("lesions_3d.csv", "lesions_axial.csv"):
        (tables / name).write_bytes((folder / "tables" / name).read_bytes())
    (tmp_path / "split").symlink_to(folder / "split")
    assert plan(tmp_path, tmp_path / "out") == 0
    assert "lesion halves alone" in capsys.readouterr().out
    assert (pd.read_csv(tmp_path / "out" / "batches.csv")["category"] > 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--validation-fold", "9"], "must be one of"),
        (["--batch-size", "7"], "found 7"),
        (["--plane", "coronal"], None),
    ],
)
def test_bad_requests(work, tmp_path, capsys, options, message):
    folder, _ = work
    status = plan(folder, tmp_path / "out", *options)
    assert status == (2 if message else 0)
    if message:
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [["--folds", "20"], ["--folds", "1"], ["--holdout", "1"]])
def test_bad_folds_leave_nothing(work, tmp_path, capsys, options):
    folder, _ = work
    assert main(["folds", str(folder / "tables"), str(tmp_path / "out"), *options]) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1
    assert err[0].startswith("raxnet folds: ")
    assert not (tmp_path / "out").exists()


def test_output_in_the_way_of_a_file(work, capsys):
    folder, _ = work
    out = folder / "tables" / "grid.json" / "out"
    assert main(["stats", str(folder / "data"), str(out)]) == 2
    assert "cannot be written" in capsys.readouterr().err
