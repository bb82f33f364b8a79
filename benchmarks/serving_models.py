"""RAX-Nets for the benchmarks of serving: briefly trained on a phantom, exported as the pipeline does."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from lesions.grid import Grid, template_grid
from lesions.phantom import make_subject
from lesions.provenance import ModelCard
from lesions.slices import PLANES, canvas, cut, slice_shape
from trainer import fit, signatures
from trainer.settings import TrainingSettings

WEIGHTS, BATCH, SUBJECTS = "weights.npz", 16, 6
SETTINGS = TrainingSettings(batch_norm_momentum=0.9)


def build(grid: Grid, plane: str) -> keras.Model:
    """An untrained RAX-Net for a plane's slices."""
    return fit.build(SETTINGS, slice_shape(grid.shape, plane), canvas(grid.shape, plane))


def write(network: keras.Model, grid: Grid, plane: str, models: Path) -> None:
    """Exports a network as Pusher leaves it: <models>/<plane>/1."""
    shape, padding = slice_shape(grid.shape, plane), canvas(grid.shape, plane)
    card = ModelCard(
        plane=plane,
        fold=1,
        network="raxnet",
        loss="none",
        grid=grid,
        canvas=(padding.rows, padding.columns),
        dataset="a benchmark's phantom",
        phantom=True,
        subjects=0,
        validation_subjects=0,
        fold_map="",
        data="",
        epochs=0,
        best_epoch=0,
        parameters=network.count_params(),
    )
    signatures.export(network, shape, padding, models / plane / "1", card=card)


def on_canvas(stack: np.ndarray, grid: Grid, plane: str) -> np.ndarray:
    """(n, h, w) raw slices as the network takes them: scaled to 255, padded, (n, rows, columns, 1)."""
    padding = canvas(grid.shape, plane)
    positive = np.maximum(stack, 0).astype(np.float32)
    peaks = positive.max(axis=(1, 2), keepdims=True)
    scaled = np.divide(positive, peaks, out=np.zeros_like(positive), where=peaks > 0) * np.float32(255)
    return np.pad(scaled, ((0, 0), padding.rows, padding.columns))[..., None]


def train(spacing: float, steps: int) -> list[np.ndarray]:
    """Weights after some steps over a phantom's axial slices, so that masks have lesions in them."""
    grid, plane = template_grid(spacing), "axial"
    images, masks = [], []
    for index in range(SUBJECTS):
        scan, mask = make_subject(index, seed=1, spacing=spacing)
        rows = np.flatnonzero(cut(mask.data, plane).any(axis=(1, 2)))
        images.append(on_canvas(cut(scan.data, plane)[rows], grid, plane))
        padding = canvas(grid.shape, plane)
        masks.append(np.pad(cut(mask.data, plane)[rows], ((0, 0), padding.rows, padding.columns))[..., None])
    x, y = np.concatenate(images), np.concatenate(masks).astype(np.float32)
    network, rng = build(grid, plane), np.random.default_rng(0)
    for _ in range(steps):
        batch = rng.choice(len(x), BATCH)
        network.train_on_batch(x[batch], y[batch])
    return network.get_weights()


def prepare(folder: Path, spacings: list[float], steps: int, trained_at: float = 3.0) -> None:
    """Writes weights and models of each spacing into <folder>/<spacing>, where they are not there already."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / WEIGHTS).exists():
        np.savez(folder / WEIGHTS, *train(trained_at, steps))
    for spacing in spacings:
        for plane in PLANES:
            if not (folder / f"{spacing:g}" / plane / "1/variables/variables.index").exists():
                write(load(folder, spacing, plane), template_grid(spacing), plane, folder / f"{spacing:g}")


def load(folder: Path, spacing: float, plane: str) -> keras.Model:
    """The Keras network of a model in the folder."""
    network = build(template_grid(spacing), plane)
    with np.load(folder / WEIGHTS) as weights:
        network.set_weights([weights[name] for name in weights.files])
    return network
