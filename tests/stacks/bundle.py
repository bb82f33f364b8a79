"""What one stack makes of a data set, and how it answers with models of either: `test_both.py` runs it on both.

python -m tests.stacks.bundle make DATA OUT
python -m tests.stacks.bundle answer DATA OUT MADE...
"""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from lesions.dataset import discover
from lesions.slices import canvas, cut, slice_shape, stacks
from tests.e2e.conftest import TRAINING, raxnet, run, write_config

PLANE = "axial"
SEED = 3  # of the batch plans


def command(*arguments):
    done = raxnet(*arguments)
    assert done.returncode == 0, done.stderr


def newest(root: Path, artifact: str) -> Path:
    return max((root / "artifacts" / artifact).iterdir(), key=lambda folder: int(folder.name))


def make(data: Path, out: Path) -> None:
    """A whole run (tables, folds, records, a trained and pushed model), two batch plans, and every network's export."""
    root = out / "root"
    out.mkdir(parents=True)
    run(write_config(out / "run.yaml", data, root, training=TRAINING))
    tables, folds = newest(root, "LesionStatisticsGen/tables"), newest(root, "FoldGen/fold_map")
    for epoch in (0, 1):
        place = out / f"batches_{epoch}"
        options = {
            "--plane": PLANE,
            "--validation-fold": 1,
            "--batch-size": 8,
            "--seed": SEED,
            "--epoch": epoch,
        }
        command("batches", tables, folds, place, *(word for pair in options.items() for word in pair))
    export_networks(data, out / "networks")


def volumes(data: Path) -> list[np.ndarray]:
    """The first two subjects' scans."""
    return [np.asarray(nib.load(scan.image).dataobj, np.float32) for scan in discover(data).scans[:2]]


def asked(volume: np.ndarray, context: tuple[int, ...]) -> np.ndarray:
    """The slices of a volume that are not empty, as a network with that context is asked with them."""
    slices = cut(volume, PLANE)
    rows = np.flatnonzero(slices.any(axis=(1, 2)))
    return slices[rows] if len(context) == 1 else stacks(slices, rows, context)


def export_networks(data: Path, out: Path) -> None:
    """Every network, untrained, with batch statistics of these scans."""
    from tests.trainer.stages import settled
    from trainer import signatures
    from trainer.networks import NETWORKS

    volume = volumes(data)[0]
    shape, padding = slice_shape(volume.shape, PLANE), canvas(volume.shape, PLANE)
    for name, network in NETWORKS.items():
        some = asked(volume, network.context)[6:14]
        pads = [(0, 0)] * (some.ndim - 2)
        padded = np.pad(255 * some / some.max(), [*pads, padding.rows, padding.columns])
        given = np.moveaxis(padded, 1, -1) if padded.ndim == 4 else padded[..., None]
        model = settled(name, *padding.padded(*shape), given)
        signatures.export(model, shape, padding, out / name, network.context)


def answer(data: Path, out: Path, *bundles: Path) -> None:
    """Answers with what is in bundles, each in a folder of its name."""
    for made in bundles:
        _answer(data, made, out / made.name)


def _answer(data: Path, made: Path, out: Path) -> None:
    """Probabilities of every network of a bundle, by its signature, and of its pushed model, by `raxnet segment`."""
    import tensorflow as tf

    from trainer.networks import NETWORKS

    out.mkdir(parents=True)
    volume = volumes(data)[1]
    for name, network in NETWORKS.items():
        model = tf.saved_model.load(str(made / "networks" / name))
        slices = tf.constant(asked(volume, network.context))
        np.save(
            out / f"{name}.npy", model.signatures["serving_default"](slices=slices)["probabilities"].numpy()
        )
    scan = discover(data).scans[1].image
    command("segment", scan, out / "segmented", "--models", made / "root" / "serving_models")


if __name__ == "__main__":
    {"make": make, "answer": answer}[sys.argv[1]](*(Path(word) for word in sys.argv[2:]))
