import numpy as np
import pytest

from lesions.grid import Volume
from lesions.nifti import read, write
from reports.blocks import Image, Text
from reports.content import Picture
from reports.pictures import by_dice, case, extremes, picture, thinned


def test_pictures_are_ordered_by_dice_and_thinned_with_both_ends():
    made = [
        Picture(f"s{i}", "i", "t", "p", dice) for i, dice in enumerate([0.2, None, 0.9, float("nan"), 0.5])
    ]
    assert [p.subject for p in by_dice(made)] == ["s2", "s4", "s0", "s1", "s3"]
    assert thinned(by_dice(made)) == by_dice(made)
    many = [Picture(f"s{i:03d}", "i", "t", "p", i / 131) for i in range(132)]
    shown = thinned(by_dice(many), 24)
    assert len(shown) == len({p.subject for p in shown}) == 24
    assert shown[0].subject == "s131"
    assert shown[-1].subject == "s000"


@pytest.mark.parametrize(
    ("dice", "expected"),
    [
        ([0.2, 0.9, 0.5], {"Best": 0.9, "Median": 0.5, "Worst": 0.2}),
        ([0.2, 0.9, 0.5, 0.7], {"Best": 0.9, "Median": 0.5, "Worst": 0.2}),
        ([0.2, None, 0.9], {"Best": 0.9, "Worst": 0.2}),
        ([0.4], {"Best": 0.4}),
        ([None, float("nan")], {}),
        ([], {}),
    ],
)
def test_best_median_and_worst_are_among_those_with_a_dice_and_none_is_shown_twice(dice, expected):
    ordered = by_dice([Picture(f"s{i}", "i", "t", "p", value) for i, value in enumerate(dice)])
    assert {name: item.dice for name, item in extremes(ordered).items()} == expected


@pytest.mark.heavy
def test_a_case_shows_the_disagreement_where_there_is_one(subjects):
    first = subjects[0][3]
    made = case(first, phantom=True)
    assert isinstance(made, Image)
    assert "how far the planes disagree" in made.alt
    alone = case(
        Picture(first.subject, first.image, first.truth, first.prediction, first.dice), phantom=False
    )
    assert "disagree" not in alone.alt
    assert alone.width < made.width  # a column less
    gone = case(
        Picture(first.subject, first.image, first.truth, first.prediction, 0.5, first.image / "x"), True
    )
    assert isinstance(gone, Text)


@pytest.mark.heavy
def test_a_picture_says_dice_and_volumes(subjects):
    first = subjects[0][3]
    volume = read(first.truth)
    size = volume.data.sum() * volume.grid.voxel_volume / 1000
    made = picture(first, phantom=True)
    assert isinstance(made, Image)
    volumes = f"truth {size:.2f} mL, prediction {size:.2f} mL."
    assert made.caption == f"{first.subject}: 3-D Dice {first.dice:.3f}; {volumes}"
    assert made.alt.startswith("Synthetic scan of sub-")
    without = picture(Picture(first.subject, first.image, None, first.prediction), phantom=False)
    assert "3-D Dice -; " in without.caption
    assert "no truth given" in without.caption
    assert without.alt.startswith("Scan of sub-")


@pytest.mark.heavy
def test_orientation_of_the_files_does_not_matter(subjects, tmp_path):
    first = subjects[0][2]
    image = read(first.image)
    matrix = image.grid.matrix.copy()
    matrix[:3, 3] += matrix[:3, 0] * (image.grid.shape[0] - 1)
    matrix[:3, 0] *= -1
    flipped = Volume(image.data[::-1].copy(), type(image.grid).of(image.grid.shape, matrix))
    write(tmp_path / "flipped.nii.gz", flipped)
    other = Picture(first.subject, tmp_path / "flipped.nii.gz", first.truth, first.prediction, first.dice)
    assert picture(other, phantom=True) == picture(first, phantom=True)


@pytest.mark.parametrize("fault", ["missing", "other grid"])
def test_a_picture_that_cannot_be_drawn_is_a_line_of_text(subjects, tmp_path, fault):
    first = subjects[0][0]
    path = tmp_path / "mask.nii.gz"
    if fault == "other grid":
        image = read(first.image)
        write(path, Volume(np.zeros((4, 4, 4), np.uint8), type(image.grid).of((4, 4, 4), image.grid.matrix)))
    made = picture(Picture(first.subject, first.image, first.truth, path), phantom=True)
    assert isinstance(made, Text)
    assert made.text.startswith(f"{first.subject}: no picture. {path}")
