"""Three trainings one after the other with all processors, against side by side with a share of them each.

    python benchmarks/trainings.py [FOLDER]

Makes a phantom and its records in FOLDER (a temporary one by default), then trains its three planes for one epoch
both ways, each training in a fresh process, and prints the seconds and their ratio.
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from lesions import dataset
from lesions.phantom import make_cohort
from pipeline import config, console, local_runner, trainings

SUBJECTS, SPACING = 60, 3.0
YAML = """\
data: {folder}/data
root: {folder}/root
split: {{folds: 5, holdout: 0.1}}
training: {{batch_size: 4, epochs: 1}}
"""


def main(folder: Path) -> None:
    console.to_terminal()
    make_cohort(folder / "data", SUBJECTS, spacing=SPACING)
    yaml = folder / "run.yaml"
    yaml.write_text(YAML.format(folder=folder))
    one = config.load(yaml)
    local_runner.run(one, prepare=True)
    examples = trainings.prepared(one, dataset.digest(dataset.discover(one.data)))

    start = time.perf_counter()
    for plane in one.planes:
        command = [sys.executable, "-m", "pipeline.cli.main", "train", yaml, "--plane", plane, "--fold", "1"]
        subprocess.run(command, check=True, capture_output=True)
    in_turn = time.perf_counter() - start

    other = replace(one, parallel_trainings=3, training=replace(one.training, seed=1))  # none is trained yet
    start = time.perf_counter()
    trainings.train_all(trainings.of(other, examples), other.parallel_trainings, other.device)
    together = time.perf_counter() - start
    print(f"{len(one.planes)} trainings of {SUBJECTS} phantom subjects at {SPACING:g} mm, batches of 4")
    print(f"one after the other, all processors: {in_turn:6.0f} s")
    print(f"side by side, a share each:          {together:6.0f} s, {together / in_turn:.2f} of the time")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch))
