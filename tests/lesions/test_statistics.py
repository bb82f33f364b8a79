from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesions import nifti, statistics
from lesions.components import components, slice_lesions
from lesions.dataset import Scan
from lesions.errors import InputError, WorkError
from lesions.grid import Grid, Volume
from lesions.parallel import map_subjects
from lesions.slices import AXIS, PLANES
from tests.spec_pages import numbers

SHAPE = (12, 14, 10)


def write(folder, subject, mask, spacing=1.0, flip=False, image=None):
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = (-8, -9, -7)
    grid = Grid.of(mask.shape, affine)
    if image is None:
        image = np.zeros(mask.shape, np.float32)
        image[2:-1, 1:-2, 3:-1] = 7
    paths = []
    for name, data in (("T1w", image.astype(np.float32)), ("mask", mask.astype(np.uint8))):
        if flip:  # the same scan, stored from right to left
            turned = affine @ np.diag([-1, 1, 1, 1.0])
            turned[:3, 3] = affine[:3, 3] + [(mask.shape[0] - 1) * spacing, 0, 0]
            volume = Volume(np.ascontiguousarray(data[::-1]), Grid.of(data.shape, turned))
        else:
            volume = Volume(data, grid)
        paths.append(folder / f"{subject}_{name}.nii.gz")
        nifti.write(paths[-1], volume)
    return Scan(subject, "ses-1", paths[0], paths[1])


def two_lesions():
    mask = np.zeros(SHAPE, bool)
    mask[3, 3, 3] = mask[4, 4, 4] = mask[5, 5, 4] = True  # joined by corners and edges alone
    mask[8:10, 8:10, 8] = True
    return mask


def test_rows_of_a_known_mask(tmp_path):
    tables = statistics.compute_tables([write(tmp_path, "sub-1", two_lesions())])
    assert tables.lesions_3d.to_dict("records") == [
        {"subject": "sub-1", "lesions": 2, "voxels": 7, "largest": 4, "sizes": "4 3"}
    ]
    axial = tables.planes["axial"]
    assert list(axial.columns) == ["subject", "slice", "lesions", "voxels", "largest"]
    assert axial.to_numpy().tolist() == [
        ["sub-1", 3, 1, 1, 1],
        ["sub-1", 4, 1, 2, 2],  # by a corner: one lesion of two pixels
        ["sub-1", 8, 1, 4, 4],
    ]
    assert tables.planes["sagittal"]["slice"].tolist() == [3, 4, 5, 8, 9]


def test_components_of_one_slice_are_not_joined_through_another(tmp_path):
    mask = np.zeros(SHAPE, bool)
    mask[2, 2, 4] = mask[6, 6, 4] = True
    mask[2:7, 2:7, 5] = True
    tables = statistics.compute_tables([write(tmp_path, "sub-1", mask)])
    assert tables.planes["axial"].loc[0, ["lesions", "voxels", "largest"]].tolist() == [2, 2, 1]
    assert tables.lesions_3d.loc[0, "lesions"] == 1


def test_every_slice_is_listed(tmp_path):
    tables = statistics.compute_tables([write(tmp_path, "sub-1", two_lesions())])
    for plane in PLANES:
        frame = tables.slices[plane]
        assert frame["slice"].tolist() == list(range(SHAPE[AXIS[plane]]))
        assert frame["nonzero"].sum() == 9 * 11 * 6
        assert frame["lesion_voxels"].sum() == 7
    assert tables.slices["axial"]["nonzero"].tolist() == [0, 0, 0] + [99] * 6 + [0]


def test_axes_are_brought_to_ras(tmp_path):
    mask = two_lesions()
    (tmp_path / "flipped").mkdir()
    straight = statistics.compute_tables([write(tmp_path, "sub-1", mask)])
    flipped = statistics.compute_tables([write(tmp_path / "flipped", "sub-1", mask, flip=True)])
    pd.testing.assert_frame_equal(straight.planes["sagittal"], flipped.planes["sagittal"])


def test_no_component_is_lost(tmp_path):
    mask = np.zeros((40, 8, 8), bool)
    for i in range(13):
        mask[3 * i, 2, 2 : 3 + i % 3] = True
    frame = statistics.compute_tables([write(tmp_path, "sub-1", mask)]).lesions_3d
    assert frame.loc[0, "sizes"] == " ".join(["3"] * 4 + ["2"] * 4 + ["1"] * 5)


@pytest.mark.heavy
@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.6))
def test_planes_and_volume_agree(seed, share):
    lesion = np.random.default_rng(seed).random((6, 7, 5)) < share
    sizes = components(lesion).sizes
    assert sizes.sum() == lesion.sum()
    assert (np.diff(sizes) <= 0).all()
    for plane in PLANES:
        frame = slice_lesions(lesion, plane)
        slices = np.moveaxis(lesion, AXIS[plane], 0)
        expected = []
        for index, piece in enumerate(slices):
            parts = loop_components(piece)
            if parts:
                expected.append([index, len(parts), sum(parts), max(parts)])
        assert frame.to_numpy().tolist() == expected


def loop_components(piece):
    """Sizes of the 8-connected components, by a flood fill."""
    left = {tuple(p) for p in np.argwhere(piece)}
    sizes = []
    while left:
        stack, size = [left.pop()], 0
        while stack:
            y, x = stack.pop()
            size += 1
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            stack += near
        sizes.append(size)
    return sizes


def test_bins_are_open_below_and_closed_above():
    sizes = [0, 1, 200, 201, 500, 1000, 1001, 2000, 3000, 3001, 10**6]
    assert statistics.size_category(sizes, "axial", None).tolist() == [0, 1, 1, 2, 2, 3, 4, 4, 5, 6, 6]
    assert statistics.size_category([5000, 5001, 200_001], "3d", None).tolist() == [1, 2, 6]
    assert statistics.size_category([500, 501, 5000, 5001], "sagittal", None).tolist() == [1, 2, 5, 6]


def test_edges_keep_their_size_in_millimeters():
    grid = Grid.of((99, 117, 95), np.diag([2.0, 2.0, 2.0, 1.0]))
    assert statistics.size_category([625, 626], "3d", grid).tolist() == [1, 2]  # 5000 mm^3
    assert statistics.size_category([50, 51], "coronal", grid).tolist() == [1, 2]  # 200 mm^2
    flat = Grid.of((9, 9, 9), np.diag([1.0, 2.0, 3.0, 1.0]))
    assert statistics.edges("axial", flat)[1] == 100
    assert statistics.edges("sagittal", flat)[1] == pytest.approx(500 / 6)
    assert statistics.edges("coronal", flat)[1] == pytest.approx(200 / 3)


def test_written_tables_are_read_again(tmp_path):
    scans = [write(tmp_path, "sub-1", two_lesions(), 2.0), write(tmp_path, "sub-2", two_lesions()[::-1], 2.0)]
    tables = replace(statistics.compute_tables(scans), dataset="Some phantom", phantom=True)
    tables.write(tmp_path / "out")
    again = statistics.read_tables(tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        [
            *("about.json", "grid.json", "lesions_3d.csv", "lesion_frequency.nii.gz"),
            *(f"locations{part}.csv" for part in ("", "_subjects", "_summary")),
            *(f"{kind}_{p}.csv" for kind in ("lesions", "slices") for p in PLANES),
        ]
    )
    pd.testing.assert_frame_equal(again.lesions_3d, tables.lesions_3d)
    for plane in PLANES:
        pd.testing.assert_frame_equal(again.planes[plane], tables.planes[plane])
        pd.testing.assert_frame_equal(again.slices[plane], tables.slices[plane])
    assert again.grid == tables.grid
    assert (again.dataset, again.phantom) == ("Some phantom", True)
    pd.testing.assert_frame_equal(again.locations.lesions, tables.locations.lesions)
    pd.testing.assert_frame_equal(again.locations.subjects, tables.locations.subjects)
    assert again.frequency.data.dtype == np.uint16
    assert (again.frequency.data == two_lesions().astype(int) + two_lesions()[::-1]).all()
    assert again.frequency.grid.same_as(tables.grid)


def test_every_lesion_has_a_place(tmp_path):
    scans = [write(tmp_path, f"sub-{i}", np.roll(two_lesions(), i, axis=1)) for i in range(3)]
    tables = statistics.compute_tables(scans)
    lesions = tables.locations.lesions
    sizes = lesions.groupby("subject")["voxels"].apply(lambda v: " ".join(map(str, v)))
    assert sizes.tolist() == tables.lesions_3d["sizes"].tolist()
    assert set(lesions["source"]) == {"approximate"}
    assert tables.frequency.data.sum() == tables.lesions_3d["voxels"].sum()


def test_masks_are_read_once(tmp_path, monkeypatch):
    scans = [write(tmp_path, f"sub-{i}", two_lesions()) for i in range(3)]
    seen = []
    read = nifti.read
    monkeypatch.setattr(nifti, "read", lambda path, *rest: seen.append(path) or read(path, *rest))
    assert statistics.compute_tables(scans).frequency.data.max() == 3
    files = [path for path in seen if tmp_path in path.parents]
    assert sorted(files) == sorted(path for scan in scans for path in (scan.image, scan.mask))


def test_scans_on_several_grids_have_no_frequency_map(tmp_path):
    scans = [write(tmp_path, "sub-1", two_lesions(), 2.0), write(tmp_path, "sub-2", two_lesions(), 1.0)]
    tables = statistics.compute_tables(scans)
    assert tables.frequency is None
    assert len(tables.locations.subjects) == 2


@pytest.mark.heavy
def test_workers_change_nothing(tmp_path):
    scans = [write(tmp_path, f"sub-{i}", np.roll(two_lesions(), i, axis=1)) for i in range(3)]
    seen = []
    many = statistics.compute_tables(scans, 2, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    pd.testing.assert_frame_equal(many.planes["coronal"], statistics.compute_tables(scans).planes["coronal"])


@pytest.mark.heavy
def test_worker_that_dies_names_its_subject():
    work = ["10", "__import__('os')._exit(1)", "30"]  # eval: a function that every process can import
    with pytest.raises(WorkError, match="sub-_: the worker process died"):
        map_subjects(eval, work, lambda item: f"sub-{item[0]}", workers=2)
    assert map_subjects(eval, ["10", "30", "40"], str, workers=2) == [10, 30, 40]


def test_no_masks(tmp_path):
    with pytest.raises(InputError, match="found none"):
        statistics.compute_tables([Scan("sub-1", "ses-1", tmp_path / "x.nii.gz", None)])


def test_subject_with_two_sessions(tmp_path):
    scan = write(tmp_path, "sub-1", two_lesions())
    with pytest.raises(InputError, match="sub-1: more than one session"):
        statistics.compute_tables([scan, Scan("sub-1", "ses-2", scan.image, scan.mask)])


def test_mask_of_another_shape(tmp_path):
    scan = write(tmp_path, "sub-1", two_lesions())
    other = write(tmp_path, "sub-2", two_lesions()[:, :-1])
    with pytest.raises(InputError, match="its scan has"):
        statistics.compute_tables([Scan("sub-1", "ses-1", scan.image, other.mask)])
    with pytest.raises(InputError, match="bring all scans to one grid"):
        statistics.compute_tables([scan, other])


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("lesions_3d.csv", "subject,lesions,voxels\nsub-1,1,1\n", "column largest is missing"),
        ("lesions_3d.csv", "subject,lesions,voxels,largest\nsub-1,1,x,1\n", "whole numbers"),
        ("lesions_3d.csv", "subject,lesions,voxels,largest\nsub-1,1,1,1\nsub-1,1,1,1\n", "twice"),
        ("lesions_axial.csv", "subject,slice,lesions,voxels,largest\nsub-9,1,1,1,1\n", "sub-9 is not in"),
        ("grid.json", "{}", "grid.json: damaged"),
        ("about.json", "{", "about.json: damaged"),
        ("locations.csv", "subject,lesion\nsub-1,1\n", "column voxels is missing"),
        ("locations_subjects.csv", "subject,lh_cortical\nsub-1,1\n", "column lh_subcortical is missing"),
        ("lesion_frequency.nii.gz", "x", "lesion_frequency.nii.gz: "),
    ],
)
def test_damaged_tables(tmp_path, file, text, message):
    statistics.compute_tables([write(tmp_path, "sub-1", two_lesions())]).write(tmp_path / "out")
    (tmp_path / "out" / file).write_text(text)
    with pytest.raises(InputError, match=message):
        statistics.read_tables(tmp_path / "out")


def test_no_tables(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        statistics.read_tables(tmp_path / "x")
    with pytest.raises(InputError, match="no such table"):
        statistics.read_tables(tmp_path)


def test_unwritable_output_leaves_nothing(tmp_path):
    tables = statistics.compute_tables([write(tmp_path, "sub-1", two_lesions())])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        tables.write(tmp_path / "file" / "out")


def test_mask_without_lesion(tmp_path):
    scan = write(tmp_path, "sub-1", np.zeros(SHAPE, bool))
    with pytest.raises(InputError, match="no lesion in it"):
        statistics.compute_tables([scan])


def test_the_categories_are_those_of_the_reference():
    assert numbers("method.md", "Size categories", slice(1, 2)) == [
        list(e) for e in statistics.EDGES.values()
    ]


def test_golden_values_of_the_real_tables(atlas):
    """(docs/spec/method.md#golden-values)."""
    tables = statistics.read_tables(atlas)
    voxels, lesions = tables.lesions_3d["voxels"], tables.lesions_3d["lesions"]
    assert len(voxels) == 655
    assert (voxels.min(), voxels.median(), round(voxels.mean()), voxels.max()) == (13, 5_290, 33_226, 496_656)
    assert ((lesions == 1).sum(), lesions.min(), lesions.max()) == (307, 1, 33)
    assert (len(tables.planes["axial"]), len(tables.planes["sagittal"])) == (32_989, 23_455)
    assert tables.locations is None
    assert tables.frequency is None
    counts = {"3d": [319, 154, 64, 49, 44, 25], "axial": [15725, 5434, 4341, 4297, 1848, 1344]}
    for table, expected in counts.items():
        frame = tables.lesions_3d if table == "3d" else tables.planes[table]
        category = statistics.size_category(frame["voxels"].to_numpy(), table, None)
        assert np.bincount(category, minlength=7).tolist() == [0, *expected]
    totals = {frame["voxels"].sum() for frame in (tables.lesions_3d, *tables.planes.values())}
    assert totals == {21_763_323}
