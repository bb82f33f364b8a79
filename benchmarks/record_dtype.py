"""What a record's pixels are stored as, decided by size, speed and Dice: python benchmarks/record_dtype.py COARSE FINE.

COARSE is a phantom at 3 mm of about 60 subjects, on whose axial slices networks are trained by the real code;
FINE one at 1 mm, whose first subject gives size and speed. Trained once per type (and once more with another seed, to
show what chance alone does); the first network also sees the same slices in every type. Speeds are per second of
processor time, so that other programs on the machine do not matter.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from lesions import nifti
from lesions.dataset import Scan, discover
from lesions.ingest import FULL_SCALE, read_subject, slices_of
from lesions.slices import Canvas, Slice, canvas, slice_shape
from trainer import fit, input, records
from trainer.settings import TrainingSettings

PLANE, FOLDS = "axial", 4


@dataclass(frozen=True)
class Kind:
    """A way to store pixels: NumPy and TensorFlow type, and what stands for a slice's maximum."""

    numpy: str
    tensor: tf.DType
    full: float
    bits: bool = False  # masks as bits

    def stored(self, share: np.ndarray) -> np.ndarray:
        """Pixels in [0, 1] as they are stored."""
        values = share * self.full
        return (values if self.tensor.is_floating else np.rint(values)).astype(self.numpy)

    def seen(self, share: np.ndarray) -> np.ndarray:
        """Pixels in [0, 1] as the network sees them, 0 to 255."""
        return self.stored(share).astype(np.float32) * np.float32(255.0 / self.full)


KINDS = {
    "uint8": Kind("<u1", tf.uint8, 255.0),
    "uint16": Kind("<u2", tf.uint16, 65535.0),
    "float16": Kind("<f2", tf.float16, 255.0),
    "uint16, mask in bits": Kind("<u2", tf.uint16, 65535.0, bits=True),
}
TRAINED = ("uint16", "uint8", "float16")


def share_of(record: Slice) -> np.ndarray:
    """A record's pixels as shares of its maximum, (height, width)."""
    pixels = np.frombuffer(record.image, "<u2").reshape(record.height, record.width)
    return pixels.astype(np.float32) / np.float32(FULL_SCALE)


def rounded(kind: Kind, subject: Iterable[Slice]) -> Iterator[Slice]:
    """Records whose pixels have gone through another type; they are stored as uint16, which holds it closely."""
    for record in subject:
        pixels = np.rint(kind.seen(share_of(record)) * (FULL_SCALE / 255.0)).astype("<u2")
        yield replace(record, image=pixels.tobytes())


@dataclass(frozen=True)
class Cohort:
    """The scans, in folds by turns, and the slices of the first fold, which is never trained on."""

    scans: tuple[Scan, ...]
    shape: tuple[int, int]
    padding: Canvas
    shares: np.ndarray  # (n, height, width)
    truth: np.ndarray


def read_cohort(data: Path) -> Cohort:
    scans = discover(data).labeled
    grid = nifti.read_grid(scans[0].image)
    shape = slice_shape(grid.shape, PLANE)
    pairs = ((scan.subject, *read_subject(scan, grid)) for scan in scans[::FOLDS])
    found = [record for pair in pairs for record in slices_of(*pair, PLANE)]
    truth = np.stack([np.frombuffer(record.mask, np.uint8).reshape(shape) > 0 for record in found])
    shares = np.stack([share_of(record) for record in found])
    return Cohort(scans, shape, canvas(grid.shape, PLANE), shares, truth)


def ingest(cohort: Cohort, folder: Path, kind: Kind) -> None:
    """Writes the axial records of all scans as they would be if stored as `kind`."""
    for number, scan in enumerate(cohort.scans):
        image, mask = read_subject(scan, nifti.read_grid(scan.image))
        made = rounded(kind, slices_of(scan.subject, image, mask, PLANE))
        records.write_shard(folder, 1 + number % FOLDS, scan.subject, made)


def train(cohort: Cohort, examples: Path, seed: int, epochs: int) -> keras.Model:
    """Trains as the demo does, validated on fold 1."""
    settings = TrainingSettings(
        batch_size=4,
        epochs=epochs,
        learning_rate=0.0015,
        decay_rate=0.1,
        decay_steps=1000,
        batch_norm_momentum=0.9,
        seed=seed,
    )
    model = fit.build(settings, cohort.shape, cohort.padding)
    training, validation = (
        fit.Feed(input.read_index(examples, folds), settings, PLANE, cohort.shape, cohort.padding)
        for folds in (range(2, FOLDS + 1), [1])
    )
    with tempfile.TemporaryDirectory() as folder:
        fit.fit(model, training, validation, Path(folder), "training")
    return model


def probabilities(model: keras.Model, padding: Canvas, images: np.ndarray) -> np.ndarray:
    """Of slices (n, height, width) in 0 to 255, without the canvas."""
    pads = [(0, 0), padding.rows, padding.columns]
    whole = model.predict(np.pad(images, pads)[..., np.newaxis], batch_size=32, verbose=0)[..., 0]
    rows, columns = padding.rows[0], padding.columns[0]
    return whole[:, rows : rows + images.shape[1], columns : columns + images.shape[2]]


def dice(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Of each slice with lesion."""
    both = (predicted & truth).sum(axis=(1, 2))
    return 2 * both / (predicted.sum(axis=(1, 2)) + truth.sum(axis=(1, 2)))


def same_weights(model: keras.Model, cohort: Cohort, shares: np.ndarray) -> pd.DataFrame:
    """The effect of the type alone: one network, the same slices in float32 and in every type."""
    truth, lesion = cohort.truth, cohort.truth.any(axis=(1, 2))
    exact = probabilities(model, cohort.padding, shares * np.float32(255.0))
    before = dice(exact[lesion] > 0.5, truth[lesion])
    rows = {}
    for name in TRAINED:
        found = probabilities(model, cohort.padding, KINDS[name].seen(shares))
        after = dice(found[lesion] > 0.5, truth[lesion])
        rows[name] = {
            "n": int(lesion.sum()),
            "Dice": after.mean(),
            "change of Dice": after.mean() - before.mean(),
            "largest change of a slice": np.abs(after - before).max(),
            "mean |dp|": np.abs(found - exact).mean(),
            "max |dp|": np.abs(found - exact).max(),
            "voxels changed": int(((found > 0.5) != (exact > 0.5)).sum()),
            "of": int((exact > 0.5).sum()),
        }
    return pd.DataFrame(rows).T


def encode(kind: Kind, record: Slice, share: np.ndarray) -> bytes:
    """A record as `trainer.records` would write it."""
    mask = record.mask
    if kind.bits:
        mask = np.packbits(np.frombuffer(mask, np.uint8)).tobytes()
    return records.encode(replace(record, image=kind.stored(share).tobytes(), mask=mask))


def decode(kind: Kind, serialized: tf.Tensor, height: int, width: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Records as images and masks, float32, as `trainer.records` would read them."""
    parsed = tf.io.parse_example(serialized, records.FEATURES)
    pixels = tf.cast(tf.io.decode_raw(parsed["image"], kind.tensor), tf.float32) * (255.0 / kind.full)
    mask = tf.io.decode_raw(parsed["mask"], tf.uint8)
    if kind.bits:
        places = tf.constant([7, 6, 5, 4, 3, 2, 1, 0], tf.uint8)
        bits = tf.bitwise.bitwise_and(tf.bitwise.right_shift(mask[..., tf.newaxis], places), 1)
        mask = tf.reshape(bits, [tf.shape(mask)[0], -1])[:, : height * width]
    shape = [-1, height, width]
    return tf.reshape(pixels, shape), tf.reshape(tf.cast(mask, tf.float32), shape)


def processor_time(work: Callable[[], object], repeats: int = 3) -> float:
    """Least seconds of processor time, all threads together."""
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def cost(scan: Scan) -> pd.DataFrame:
    """Bytes a slice, and slices per second of processor time written and read, of one subject's axial slices."""
    image, mask = read_subject(scan, nifti.read_grid(scan.image))
    found = list(slices_of(scan.subject, image, mask, PLANE))
    shares = [share_of(record) for record in found]
    height, width = found[0].height, found[0].width
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, kind in KINDS.items():
            path = f"{folder}/{name}"

            def write(kind: Kind = kind, path: str = path) -> None:
                with tf.io.TFRecordWriter(path) as writer:
                    for record, share in zip(found, shares, strict=True):
                        writer.write(encode(kind, record, share))

            def read(kind: Kind = kind, path: str = path) -> None:
                data = tf.data.TFRecordDataset(path).repeat(4).batch(32)
                for _ in data.map(lambda batch: decode(kind, batch, height, width)):
                    pass

            written = len(found) / processor_time(write)
            size = Path(path).stat().st_size / len(found)
            rows[name] = {
                "bytes a slice": round(size),
                "written /s": round(written),
                "read /s": round(4 * len(found) / processor_time(read)),
            }
    return pd.DataFrame(rows).T


def compare(cohort: Cohort, epochs: int) -> pd.DataFrame:
    """Trains a network per type, and one more with another seed; prints what the types do to the first."""
    rows = {}
    lesion = cohort.truth.any(axis=(1, 2))
    with tempfile.TemporaryDirectory() as work:
        for name, seed in [(TRAINED[0], 0), (TRAINED[0], 1), *((name, 0) for name in TRAINED[1:])]:
            kind, examples = KINDS[name], Path(work) / name
            if not examples.exists():
                ingest(cohort, examples, kind)
            model = train(cohort, examples, seed, epochs)
            if not rows:
                said(
                    "One network, slices of subjects never trained on",
                    same_weights(model, cohort, cohort.shares),
                )
            found = probabilities(model, cohort.padding, kind.seen(cohort.shares))
            scores = dice(found[lesion] > 0.5, cohort.truth[lesion])
            rows[f"{name}, seed {seed}"] = {"n": len(scores), "Dice": scores.mean(), "sd": scores.std()}
            print(f"trained on {name}, seed {seed}: Dice {scores.mean():.4f}", file=sys.stderr, flush=True)
    return pd.DataFrame(rows).T


def said(title: str, table: pd.DataFrame) -> None:
    print(f"\n{title}\n\n{table.to_string(float_format='{:.3g}'.format)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("coarse", type=Path)
    parser.add_argument("fine", type=Path)
    parser.add_argument("--epochs", type=int, default=1)
    given = parser.parse_args()
    scan = discover(given.fine).labeled[0]
    said(f"Size and speed, {PLANE} slices of {scan.subject} (per second of processor time)", cost(scan))
    cohort = read_cohort(given.coarse)
    said(f"A network trained per type, {given.epochs} epochs", compare(cohort, given.epochs))


if __name__ == "__main__":
    main()
