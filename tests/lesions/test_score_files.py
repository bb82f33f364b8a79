import numpy as np
import pandas as pd
import pytest

from lesions import metrics
from lesions.errors import InputError
from lesions.score_files import read_score_file, read_score_files, read_subjects

SLICES = "subject,slice,lesion_voxels,dice,precision,recall"
VOLUMES = "subject,dice,precision,recall,volume_difference"


def write(path, text):
    path.write_text(text)
    return path


def published(counts):
    """Rows as the original published them."""
    scores = metrics.overlap(*(counts[name] for name in ("tp", "fp", "fn")))
    frame = counts[["subject", "slice"]].assign(lesion_voxels=counts["tp"] + counts["fn"])
    for name in ("dice", "precision", "recall"):
        frame[name] = scores[f"{name}_smoothed"].astype(np.float32)
    return frame


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"subject": [f"s{k // 5}" for k in range(40)], "slice": np.arange(40) % 5})
    for name in ("tp", "fp", "fn"):
        frame[name] = rng.integers(0, 300, 40) * rng.integers(0, 2, 40)
    return frame


def test_scores_and_counts_say_the_same(counts, tmp_path):
    counts.to_csv(tmp_path / "ours_axial.csv", index=False)
    published(counts).to_csv(tmp_path / "axial_fold_2.csv", index=False)
    ours, theirs = (
        read_score_file(tmp_path / "ours_axial.csv"),
        read_score_file(tmp_path / "axial_fold_2.csv"),
    )
    assert (ours.unit, ours.given, ours.fold, ours.plane) == ("slices", "counts", "ours_axial", "axial")
    assert (theirs.unit, theirs.given, theirs.fold, theirs.plane) == ("slices", "scores", "2", "axial")
    assert theirs.rows["exact"].all()
    for name in ("tp", "fp", "fn", "lesion_voxels", "dice", "recall", "precision", "floor"):
        assert theirs.rows[name].tolist() == ours.rows[name].tolist()
    np.testing.assert_allclose(theirs.rows["dice_smoothed"], ours.rows["dice_smoothed"], rtol=1e-6)


def test_parquet_and_extra_columns_are_read(counts, tmp_path):
    counts.assign(plane="coronal", other=1.5).to_parquet(tmp_path / "x.parquet", index=False)
    file = read_score_file(tmp_path / "x.parquet")
    assert file.plane == "coronal"
    assert file.rows["tp"].tolist() == counts["tp"].tolist()


def test_predictions_of_a_subject_are_apart(tmp_path):
    text = "subject,prediction,tp,fp,fn\na,axial,1,2,3\na,fused,2,2,2\nb,axial,0,0,5\n"
    file = read_score_file(write(tmp_path / "holdout.csv", text))
    assert file.unit == "subjects"
    assert file.rows["prediction"].tolist() == ["axial", "fused", "axial"]
    assert file.rows["volume_difference"].tolist() == [1, 0, 5]


def test_scores_that_no_counts_give_are_kept_and_marked(tmp_path):
    text = f"{SLICES}\na,1,10,0.6,0.5,0.5454545\na,2,0,1,1,1\na,3,10,0,0,0\n"
    rows = read_score_file(write(tmp_path / "axial.csv", text)).rows
    assert rows["exact"].tolist() == [False, True, False]
    assert rows["dice_smoothed"].tolist() == [0.6, 1, 0]
    assert rows["dice"].isna().tolist() == [True, False, True]
    assert rows["floor"].tolist() == pytest.approx([1 / 11, 1, 1 / 11])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a readable table"),
        ("\n\n", "not a readable table"),
        (f"{SLICES}\n", "no rows"),
        ("a,b\n1,2\n", "columns a, b; expected subject, slice, tp, fp, fn; or subject, slice, lesion_voxels"),
        ("subject,slice,dice\na,1,0.5\n", "columns subject, slice, dice; expected"),
        (f"{SLICES}\na,1,4,0.5,0.5,0.5\na,1,4,0.5,0.5,0.5\n", "line 3: a 1 is there twice"),
        (f"{SLICES}\na,1,4,0.5,0.5,\n", "line 2: recall must be a number, found ''"),
        (f"{SLICES}\na,1,4,0.5,0.5\n", "line 2: recall must be a number, found ''"),
        (f"{SLICES}\na,1,4,0.5,0.5,0.5\nb,1,4,nan,0.5,0.5\n", "line 3: dice must be a number, found 'nan'"),
        (f"{SLICES}\na,1,4,0.5,inf,0.5\n", "line 2: precision must be a number, found 'inf'"),
        (f"{SLICES}\na,1,4,1.5,0.5,0.5\n", "line 2: dice must be a score from 0 to 1, found 1.5"),
        (f"{SLICES}\na,1,-4,0.5,0.5,0.5\n", "line 2: lesion_voxels must be a whole number from 0, found -4"),
        (f"{SLICES}\na,1.5,4,0.5,0.5,0.5\n", "line 2: slice must be a whole number from 0, found 1.5"),
        (f"{SLICES}\n ,1,4,0.5,0.5,0.5\n", "line 2: subject is empty"),
        (f"{VOLUMES}\na,0.5,0.5,0.5,7\na,0.5,0.5,0.5,8\n", "line 3: a is there twice"),
        ("subject,slice,tp,fp,fn,lesion_voxels\na,1,2,0,1,4\n", r"line 2: lesion_voxels is 4, tp \+ fn is 3"),
        ("subject,slice,tp,fp,fn,plane\na,1,2,0,1,axial\na,2,2,0,1,coronal\n", "column plane holds axial, coronal"),
    ],
)  # fmt: skip
def test_bad_files_are_named_with_their_line(text, message, tmp_path):
    path = write(tmp_path / "axial.csv", text)
    with pytest.raises(InputError, match=f"{path}.*{message}"):
        read_score_file(path)


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_score_file(tmp_path / "none.csv")
    with pytest.raises(InputError, match="not a readable table"):
        read_score_file(tmp_path)
    (tmp_path / "x.csv").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match=r"x\.csv: "):
        read_score_file(tmp_path / "x.csv")


def test_files_must_belong_together(counts, tmp_path):
    one = tmp_path / "axial_fold_1.csv"
    published(counts).to_csv(one, index=False)
    volumes = write(tmp_path / "fused.csv", f"{VOLUMES}\na,0.5,0.5,0.5,7\n")
    ours = tmp_path / "axial_fold_3.csv"
    counts.to_csv(ours, index=False)
    other = tmp_path / "coronal_fold_2.csv"
    published(counts.iloc[1:]).to_csv(other, index=False)
    for second, message in (
        (volumes, "2-D and 3-D scores are never averaged together"),
        (ours, "holds counts, .*axial_fold_1.csv scores"),
        (other, "plane coronal, .* is axial"),
        (one, "the same rows as"),
    ):
        with pytest.raises(InputError, match=message):
            read_score_files([one, second])


def test_folds_are_told_apart_by_name_or_by_path(counts, tmp_path):
    paths = []
    for k, folder in enumerate(("fold_1", "fold_2", "a", "b")):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "slices.csv")
        counts.iloc[k:].to_csv(paths[-1], index=False)
    assert [file.fold for file in read_score_files(paths[:2])] == ["1", "2"]
    assert [file.fold for file in read_score_files(paths[2:])] == [str(path) for path in paths[2:]]


def test_subjects(tmp_path):
    assert read_subjects(write(tmp_path / "s.csv", "x,subject\n1,b\n2,a\n3,b\n")) == ["b", "a"]
    with pytest.raises(InputError, match="column subject is missing; found x"):
        read_subjects(write(tmp_path / "s.csv", "x\n1\n"))
