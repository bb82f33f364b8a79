"""Lesions planted at known places of the MNI152 brain."""

import numpy as np
import pandas as pd
import pytest
from nilearn.datasets import fetch_coords_dosenbach_2010, fetch_coords_seitzman_2018

from lesions import location
from lesions.components import components
from lesions.grid import Grid, template_grid
from lesions.location import LOCATIONS, locate, region_at
from lesions.phantom import territories
from lesions.phantom.anatomy import load_template, make_anatomy

# Left-sided MNI coordinates, mm: well inside the structure, from atlases and textbooks.
PLACES = {
    "cortical": {
        "insula, anterior": (-36, 18, 0),
        "insula, middle": (-39, 0, 2),
        "insula, posterior": (-38, -16, 6),
        "motor cortex, hand": (-38, -22, 58),
        "motor cortex, face": (-52, -8, 36),
        "inferior frontal gyrus": (-48, 20, 14),
        "superior temporal gyrus": (-58, -20, 4),
        "angular gyrus": (-44, -62, 36),
        "calcarine cortex": (-10, -88, 2),
        "lingual gyrus": (-14, -68, -4),
        "fusiform gyrus": (-34, -54, -16),
        "occipital pole, low": (-20, -94, -10),
        "temporal pole": (-40, 14, -32),
        "orbitofrontal cortex": (-26, 34, -14),
        "cingulate, anterior": (-6, 30, 24),
        "cingulate, posterior": (-6, -46, 26),
        "frontal white matter": (-24, 30, 22),
        "centrum semiovale": (-24, -14, 40),
    },
    "subcortical": {
        "putamen": (-26, 4, 2),
        "putamen, posterior": (-29, -12, 4),
        "pallidum": (-20, -4, 0),
        "caudate head": (-12, 14, 6),
        "caudate body": (-14, 0, 18),
        "accumbens": (-9, 10, -6),
        "thalamus, medial": (-7, -16, 8),
        "thalamus, ventral": (-15, -20, 4),
        "pulvinar": (-16, -30, 6),
        "internal capsule": (-18, -8, 12),
    },
    "other": {
        "midbrain": (-5, -22, -14),
        "pons": (-5, -28, -34),
        "medulla": (-3, -38, -54),
        "cerebellum, hemisphere": (-28, -62, -36),
        "cerebellum, superior": (-16, -58, -20),
        "cerebellum, crus I": (-38, -72, -34),
        "vermis": (-2, -62, -24),
    },
}
ALL = [(expected, name, place) for expected, group in PLACES.items() for name, place in group.items()]


def sphere(places, radius, grid):
    """A mask of balls around MNI places, mm."""
    axes = [grid.affine[a][3] + grid.spacing[a] * np.arange(n) for a, n in enumerate(grid.shape)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    mask = np.zeros(grid.shape, bool)
    for place in places:
        mask |= (x - place[0]) ** 2 + (y - place[1]) ** 2 + (z - place[2]) ** 2 <= radius**2
    return mask


@pytest.mark.heavy
@pytest.mark.parametrize(("spacing", "side"), [(1.0, -1), (3.0, -1), (3.0, 1)])
def test_lesions_planted_at_known_places(spacing, side):
    grid = template_grid(spacing)
    wrong = []
    for expected, name, (x, y, z) in ALL:
        row = locate(components(sphere([(-side * x, y, z)], 3.5, grid)), grid).iloc[0]
        assert row["hemisphere"] == ("left" if side < 0 else "right") or abs(x) < 3, name
        if row["location"] != expected:
            wrong.append((name, row["location"]))
    assert wrong == []


DEEP = ("basal ganglia", "thalamus", "basalGanglia", "hippocampus", "amygdala")


def expected_place(label):
    return "other" if "cerebellum" in label else "subcortical" if label in DEEP else "cortical"


def published_regions(name):
    """Centers (n, 3), mm, and anatomical labels of a set of regions that nilearn ships."""
    given = fetch_coords_dosenbach_2010() if name == "dosenbach" else fetch_coords_seitzman_2018()
    if name == "dosenbach":
        labels = [str(label).rsplit(" ", 1)[0] for label in given.labels]  # without its number
    else:
        labels = [str(label) for label in given.regions]
    return pd.DataFrame(given.rois)[["x", "y", "z"]].to_numpy(), labels


@pytest.mark.parametrize(("name", "regions", "right"), [("dosenbach", 160, 155), ("seitzman", 300, 294)])
def test_published_regions_lie_where_their_labels_say(name, regions, right):
    """Balls of 5 mm around the centers of Dosenbach 2010 and Seitzman 2018; the figures of docs/statistics.md."""
    ball = np.argwhere(np.ones((11, 11, 11))) - 5
    ball = ball[(ball**2).sum(axis=1) <= 25]
    centers, labels = published_regions(name)
    assert len(centers) == len(labels) == regions
    found = [LOCATIONS[np.bincount(region_at(center + ball), minlength=4).argmax()] for center in centers]
    wrong = [label for label, place in zip(labels, found, strict=True) if place != expected_place(label)]
    assert len(wrong) == regions - right, wrong
    if name == "seitzman":  # the limit that the page names
        assert sorted(wrong) == ["amygdala"] * 2 + ["hippocampus"] * 4


@pytest.mark.heavy
def test_territories_of_the_phantom():
    anatomy = make_anatomy(load_template(4.0), np.random.default_rng(0), (0.0, 0.0))
    tissue = (anatomy.depth < -2.0) & (anatomy.ventricles < 0.2) & (anatomy.t1 > 125.0)
    x, y, z = anatomy.coordinates()
    grid = anatomy.grid

    def shares(where):
        places = np.argwhere(where & tissue) @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]
        return dict(zip(LOCATIONS, np.bincount(region_at(places), minlength=4) / len(places), strict=True))

    assert shares(territories._brainstem(anatomy))["other"] == 1
    for side in (-1, 1):
        assert shares(territories._cerebellum(anatomy, side))["other"] > 0.95
        assert shares(territories._cortex(anatomy, side, True) & (anatomy.grey > 0.5))["cortical"] > 0.98
        nuclei = (abs(x) < 28) & (y > -30) & (y < 16) & (z < 18)
        assert shares(territories._deep(anatomy, side) & nuclei)["subcortical"] > 0.98
        assert shares(territories._deep(anatomy, side))["other"] == 0


def test_a_lesion_lies_where_most_of_it_lies():
    grid = template_grid(2.0)
    # From the putamen through the insula into the frontal lobe: an infarct of the middle cerebral artery.
    row = locate(components(sphere([(26, 4, 2), (40, 10, 10), (44, 10, 20)], 16, grid)), grid).iloc[0]
    assert (row["location"], row["hemisphere"]) == ("cortical", "right")
    assert 0.5 < row["share"] < 0.95
    row = locate(components(sphere([(26, 4, 2)], 9, grid)), grid).iloc[0]
    assert row["location"] == "subcortical"


def test_rows_are_ranked_and_say_where_and_how_large():
    grid = template_grid(2.0)
    small, large = (-26.0, 4.0, 2.0), (30.0, -60.0, -40.0)
    mask = sphere([small], 3, grid) | sphere([large], 6, grid)
    frame = locate(components(mask), grid)
    assert list(frame.columns) == list(location.COLUMNS)
    assert frame["lesion"].tolist() == [1, 2]
    assert frame["voxels"].tolist() == sorted(frame["voxels"], reverse=True)
    assert frame["voxels"].sum() == mask.sum()
    assert frame["hemisphere"].tolist() == ["right", "left"]
    assert frame["location"].tolist() == ["other", "subcortical"]
    np.testing.assert_allclose(frame[["x", "y", "z"]], [large, small], atol=0.2)


def test_sides_follow_the_affine_not_the_index():
    grid = template_grid(2.0)
    mask = sphere([(-40, -20, 50)], 6, grid)
    for shift, side in ((0.0, "left"), (80.0, "right")):
        matrix = grid.matrix.copy()
        matrix[0, 3] += shift
        moved = Grid.of(grid.shape, matrix)
        assert locate(components(mask), moved).loc[0, "hemisphere"] == side


def test_a_lesion_outside_the_template_is_unknown():
    grid = template_grid(2.0)
    matrix = grid.matrix.copy()
    matrix[1, 3] += 500.0
    row = locate(components(sphere([(0, 0, 0)], 6, grid)), Grid.of(grid.shape, matrix)).iloc[0]
    assert row["location"] == "unknown"
    assert row["share"] == 1


def test_both_sides_are_alike():
    labels = location.load_regions().data
    assert (labels != labels[::-1]).mean() < 0.01
    assert set(np.unique(labels)) == {1, 2, 3}
