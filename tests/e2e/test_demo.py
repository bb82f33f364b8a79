"""`raxnet demo`, small: everything that README promises lies where it says, and a second one does nothing."""

import json
import re

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from lesions.provenance import read_card
from tests.e2e.conftest import cold_raxnet

pytestmark = pytest.mark.slow
PLANES = ("axial", "sagittal", "coronal")
SUBJECTS = 16


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out"
    done = cold_raxnet("demo", "--out", out, "--subjects", SUBJECTS)
    assert done.returncode == 0, done.stderr
    return out, done


@pytest.fixture(scope="module")
def held_out(demo):
    (path,) = demo[0].glob("artifacts/FoldGen/fold_map/*/folds.csv")
    folds = pd.read_csv(path)
    assert len(folds) == SUBJECTS
    return set(folds.loc[folds["fold"] == 0, "subject"])


def test_table_scores_every_held_out_subject(demo, held_out):
    out, done = demo
    rows = re.findall(r"^(axial|sagittal|coronal|fused) +(\d+) +(\d\.\d+)", done.stdout, re.MULTILINE)
    assert [(name, int(n)) for name, n, _ in rows] == [(p, len(held_out)) for p in (*PLANES, "fused")]
    assert "phantom figures" in done.stdout
    (path,) = out.glob("artifacts/FusionEvaluator/evaluation/*/holdout.csv")
    fused = pd.read_csv(path).query("prediction == 'fused'")["dice"].mean()
    assert float(rows[-1][2]) == pytest.approx(fused, abs=6e-4)


def test_every_held_out_subject_has_a_mask_on_its_grid(demo, held_out):
    out, _ = demo
    masks = {path.name.split("_")[0]: path for path in (out / "masks").rglob("*_mask.nii.gz")}
    assert set(masks) == held_out
    for subject, path in masks.items():
        (scan,) = (out / "data").rglob(f"{subject}_*T1w.nii.gz")
        mask, image = nib.load(path), nib.load(scan)
        assert mask.shape == image.shape
        assert np.allclose(mask.affine, image.affine)
        assert set(np.unique(np.asanyarray(mask.dataobj))) <= {0, 1}
        assert "phantom" in path.with_name(path.name.replace(".nii.gz", ".json")).read_text().lower()


def test_what_passes_the_gates_is_released_and_nothing_else(demo):
    """So few subjects may or may not pass them; what is said, what is pushed and what is released agree."""
    out, done = demo
    released = list((out / "serving_models/releases").glob("*.json"))
    assert len(released) == len(re.findall(r"^ *released \d{8}T", done.stderr, re.MULTILINE))
    assert bool(released) != ("nothing pushed" in done.stderr)
    for path in released:
        models = json.loads(path.read_text())["models"]
        assert set(models) == set(PLANES)
        for plane in PLANES:
            card = read_card(out / "serving_models" / plane / str(models[plane]["version"]))
            assert (card.phantom, card.parameters) == (True, 4_837_473)  # the method's whole network
    assert (out / "report.html").stat().st_size > 50_000


def test_a_second_demo_does_nothing(demo):
    out, first = demo
    again = cold_raxnet("demo", "--out", out, "--subjects", SUBJECTS)
    assert "0 of 28 steps done, 28 were done before" in again.stderr
    assert table(again.stdout) == table(first.stdout)


def table(text):
    return [line for line in text.splitlines() if line.startswith((*PLANES, "fused"))]
