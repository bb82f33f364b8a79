"""What one stack makes, the other makes too, or can use: real processes, here and in the Debian 13 root.

The scans are made once, here, and shared: what is compared is what the two make of the same files.
`./dev test --stack current` runs this; it takes the environment beside it and the root of deploy/stacks/current.sh.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lesions.phantom import make_cohort
from tests.e2e.conftest import raxnet

pytestmark = [
    pytest.mark.stacks,
    pytest.mark.timeout(3600),  # the first test waits for all that both make
    pytest.mark.skipif(
        sys.version_info >= (3, 11), reason="this machine's own stack is today's: no two to compare"
    ),
]
TREE = Path(__file__).resolve().parents[2]
OLDER, CURRENT = STACKS = ("older", "current")
MADE_ALIKE = (
    "root/artifacts/DatasetValidator",
    "root/artifacts/LesionStatisticsGen",
    "root/artifacts/FoldGen",
    "root/artifacts/NiftiExampleGen",
    "batches_0",
    "batches_1",
)
TRAINED = 1e-5  # probabilities of a trained model
UNTRAINED = 5e-4  # of networks whose activations no training has tamed: X-Net's go into the thousands


def on(stack, folder, *arguments):
    """Runs the environment's Python on a stack; `folder` is seen by the same path on both."""
    command = {OLDER: [sys.executable], CURRENT: [str(TREE / "deploy/stacks/current.sh"), "python"]}[stack]
    environment = os.environ | {"RAXNET_EXCHANGE": str(folder), "PYTHONPATH": str(TREE)}
    return subprocess.run(
        [*command, "-m", *map(str, arguments)],
        cwd=TREE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def bundle(stack, folder, *arguments):
    done = on(stack, folder, "tests.stacks.bundle", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Folder with the scans and, of each stack, what it made and how it answers with its own and the other's models."""
    folder = tmp_path_factory.mktemp("stacks").resolve()
    make_cohort(folder / "data", 14, seed=4, spacing=6.0, workers=1)
    made = [folder / stack for stack in STACKS]
    with ThreadPoolExecutor() as both:  # side by side, each stack in processes of its own
        list(both.map(lambda stack: bundle(stack, folder, "make", folder / "data", folder / stack), STACKS))
        asked = [("answer", folder / "data", folder / f"asked on {stack}", *made) for stack in STACKS]
        list(both.map(lambda stack, words: bundle(stack, folder, *words), STACKS, asked))
    return folder


def files(folder):
    found = {path.relative_to(folder): path for below in MADE_ALIKE for path in (folder / below).rglob("*")}
    return {str(name): path.read_bytes() for name, path in found.items() if path.is_file()}


def test_tables_folds_batches_and_records_are_the_same_bytes(shared):
    older, current = (files(shared / stack) for stack in STACKS)
    assert sorted(older) == sorted(current)
    assert [name for name in older if older[name] != current[name]] == []
    (folds,) = (content for name, content in older.items() if name.endswith("/folds.csv"))
    trained_on = [line for line in folds.decode().splitlines()[1:] if not line.endswith(",0")]
    shards = [len(content) for name, content in older.items() if name.endswith(".tfrecord")]
    assert len(shards) == 3 * len(trained_on) > 30
    assert min(shards) > 10_000
    assert {"batches_0/batches.csv", "batches_1/batches.csv"} < set(older)


def answers(shared, made, name):
    """What each stack says with the same model."""
    for stack in STACKS:
        (path,) = (shared / f"asked on {stack}" / made).rglob(name)
        yield np.load(path) if path.suffix == ".npy" else np.asanyarray(nib.load(path).dataobj)


@pytest.mark.parametrize("made", STACKS)
def test_a_model_trained_on_one_stack_answers_alike_on_both(shared, made):
    here, there = answers(shared, made, "*_probseg.nii.gz")
    assert here.std() > 0.02
    difference = float(np.abs(here - there).max())
    print(f"trained on {made}: largest difference of a probability {difference:.1e}")
    assert difference <= TRAINED
    masks = list(answers(shared, made, "*_mask.nii.gz"))
    assert masks[0].any()
    unsure = np.abs(here - 0.5) <= TRAINED
    assert (masks[0] == masks[1])[~unsure].all()


@pytest.mark.parametrize("made", STACKS)
@pytest.mark.parametrize("network", ["clcinet", "dunet", "raxnet", "xnet"])
def test_every_network_s_export_answers_alike_on_both(shared, made, network):
    here, there = answers(shared, made, f"{network}.npy")
    assert here.std() > 0.05
    difference = float(np.abs(here - there).max())
    print(f"{network}, exported on {made}: largest difference of a probability {difference:.1e}")
    assert difference <= UNTRAINED


def test_a_root_of_the_other_stack_is_refused(shared):
    database = shared / CURRENT / "root/metadata.db"
    before = database.read_bytes()
    done = raxnet("run", shared / CURRENT / "run.yaml")
    assert done.returncode == 2
    assert "belongs to TFX 1.21" in done.stderr.strip().splitlines()[-1]
    there = on(CURRENT, shared, "pipeline.cli.main", "run", shared / OLDER / "run.yaml")
    assert there.returncode == 2
    assert "belongs to TFX 1.16" in there.stderr.strip().splitlines()[-1]
    assert database.read_bytes() == before
