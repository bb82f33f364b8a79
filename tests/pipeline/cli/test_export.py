"""`raxnet export`: nothing lost, nothing moved, the very values that the trainer sees."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml

from lesions.dataset import discover
from lesions.folds import make_folds
from lesions.phantom import make_cohort
from lesions.slices import canvas, slice_shape
from lesions.statistics import compute_tables
from pipeline.cli.main import main

BATCH = 8


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    make_cohort(folder / "data", 6, seed=3, spacing=6.0, workers=1)
    content = {
        "data": str(folder / "data"),
        "root": str(folder / "root"),
        "planes": ["axial", "coronal"],
        "train_folds": [1],
        "workers": 1,
        "split": {"folds": 2, "holdout": 0.2, "seed": 1},
        "training": {"batch_size": BATCH, "seed": 5},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(content))
    assert main(["export", "arrays", str(folder / "run.yaml"), str(folder / "arrays")]) == 0
    return folder


def load(folder, name):
    """All slices of an array and of what was left over, flat."""
    paths = [p for p in (folder / f"{name}.npy", folder / f"{name}_last.npy") if p.exists()]
    arrays = [np.load(path, mmap_mode="r") for path in paths]
    return np.concatenate([a.reshape(-1, *a.shape[-3:]) for a in arrays])


def test_arrays_have_the_original_s_shape(work):
    images = np.load(work / "arrays/axial/fold_1/training/images.npy", mmap_mode="r")
    masks = np.load(work / "arrays/axial/fold_1/training/masks.npy", mmap_mode="r")
    shape = discover_shape(work)
    size = canvas(shape, "axial").padded(*slice_shape(shape, "axial"))
    assert images.shape == masks.shape == (len(images), BATCH, *size, 1)
    assert images.dtype == masks.dtype == np.float32


def discover_shape(work):
    return nib.load(discover(work / "data").scans[0].image).shape


@pytest.mark.parametrize("plane", ["axial", "coronal"])
def test_every_lesion_slice_once_and_no_subject_on_two_sides(work, plane):
    tables = compute_tables(discover(work / "data").labeled)
    folds = make_folds(tables, 2, 0.2, 1).set_index("subject")["fold"]
    seen = {}
    for part in ("training", "validation"):
        rows = pd.read_csv(work / f"arrays/{plane}/fold_1/{part}/slices.csv")
        own = folds[folds.isin([2] if part == "training" else [1])].index
        lesions = tables.planes[plane]
        expected = lesions[lesions["subject"].isin(own)][["subject", "slice"]]
        found = rows.loc[rows["category"] > 0, ["subject", "slice"]]
        assert sorted(map(tuple, found.to_numpy())) == sorted(map(tuple, expected.to_numpy()))
        seen[part] = set(rows["subject"])
    assert not seen["training"] & seen["validation"]
    assert not (seen["training"] | seen["validation"]) & set(folds[folds == 0].index)


@pytest.mark.parametrize("part", ["training", "validation"])
def test_each_place_holds_its_own_slice(work, part):
    folder = work / f"arrays/coronal/fold_1/{part}"
    rows, images, masks = pd.read_csv(folder / "slices.csv"), load(folder, "images"), load(folder, "masks")
    assert len(rows) == len(images) == len(masks)
    scans = {scan.subject: scan for scan in discover(work / "data").labeled}
    for number, row in rows.iterrows():
        scan = scans[row["subject"]]
        image = nib.load(scan.image).get_fdata()[:, row["slice"], :]
        mask = nib.load(scan.mask).get_fdata()[:, row["slice"], :]
        padding = canvas(nib.load(scan.image).shape, "coronal")
        inside = np.s_[
            padding.rows[0] : padding.rows[0] + image.shape[0],
            padding.columns[0] : padding.columns[0] + image.shape[1],
        ]
        np.testing.assert_allclose(images[number, ..., 0][inside], image * 255 / image.max(), atol=1e-3)
        np.testing.assert_array_equal(masks[number, ..., 0][inside], mask > 0)
        assert images[number].sum() == pytest.approx(images[number, ..., 0][inside].sum())
        assert masks[number].sum() == (mask > 0).sum()


def test_flat_holds_the_same_in_the_same_order(work, tmp_path):
    assert main(["export", "arrays", str(work / "run.yaml"), str(tmp_path / "flat"), "--flat"]) == 0
    for name in ("images", "masks"):
        flat = np.load(tmp_path / f"flat/axial/fold_1/training/{name}.npy")
        np.testing.assert_array_equal(flat, load(work / "arrays/axial/fold_1/training", name))


def test_slices_lie_where_they_lay(work, tmp_path, capsys):
    assert main(["export", "slices", str(work / "run.yaml"), str(tmp_path / "slices")]) == 0
    scan = discover(work / "data").labeled[0]
    whole, mask = nib.load(scan.image), nib.load(scan.mask)
    for plane, axis in (("axial", 2), ("coronal", 1)):
        files = sorted((tmp_path / "slices" / plane / scan.subject).glob("*_T1w.nii.gz"))
        filled = np.flatnonzero(whole.get_fdata().max(axis=tuple({0, 1, 2} - {axis})) > 0)
        assert [int(f.name.split("_slice-")[1][:3]) for f in files] == list(filled)
        for file, index in zip(files, filled, strict=True):
            one = nib.load(file)
            assert one.shape[axis] == 1
            np.testing.assert_array_equal(one.get_fdata(), np.take(whole.get_fdata(), [index], axis))
            corner = np.zeros(3)
            corner[axis] = index
            np.testing.assert_allclose(
                nib.affines.apply_affine(one.affine, [0, 0, 0]),
                nib.affines.apply_affine(whole.affine, corner),
                atol=1e-4,
            )
            lesion = nib.load(str(file).replace("_T1w", "_mask")).get_fdata()
            np.testing.assert_array_equal(lesion, np.take(mask.get_fdata(), [index], axis) > 0)
    assert "slices of 6 subjects" in capsys.readouterr().out


def test_what_cannot_be_written_is_said_before_any_work(work, capsys):
    assert main(["export", "arrays", str(work / "run.yaml"), str(work / "arrays")]) == 2
    assert "arrays: exists; name another folder" in capsys.readouterr().err
    assert main(["export", "slices", str(work / "run.yaml"), str(work / "x"), "--flat"]) == 2
    assert "--flat: is for arrays" in capsys.readouterr().err
    assert not [p for p in work.iterdir() if p.name.startswith(".partial")]
