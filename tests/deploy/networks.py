"""Untrained networks as the tests of this folder need them: as models and as the authors' HDF5 files."""

from pathlib import Path

import h5py
import keras

from lesions.grid import template_grid
from lesions.provenance import ModelCard
from lesions.slices import PLANES, canvas, slice_shape
from trainer import keras2_config, signatures
from trainer.keras2_h5 import CARD
from trainer.networks.raxnet import raxnet

SPACING = 6.0  # mm
STEP = 0.00101  # of a written map, where two TensorFlows round to either side of it


def card_of(network, plane, grid):
    """A card that says: not trained."""
    pads = canvas(grid.shape, plane)
    none = dict.fromkeys(("subjects", "validation_subjects", "epochs", "best_epoch"), 0)
    facts = {"dataset": "phantom", "phantom": True, "fold_map": "f", "data": "d", "loss": "none"}
    sizes = {"canvas": (pads.rows, pads.columns), "parameters": network.count_params()}
    return ModelCard(plane=plane, fold=1, network="raxnet", grid=grid, **none, **facts, **sizes)


def network_of(plane, grid):
    return raxnet(*canvas(grid.shape, plane).padded(*slice_shape(grid.shape, plane)))


def export(folder: Path) -> None:
    """A model for each plane, of 6 mm."""
    keras.utils.set_random_seed(0)
    grid = template_grid(SPACING)
    for plane in PLANES:
        network = network_of(plane, grid)
        sizes = slice_shape(grid.shape, plane), canvas(grid.shape, plane)
        signatures.export(network, *sizes, folder / plane / "1", card=card_of(network, plane, grid))


def write_authors_files(folder: Path) -> None:
    """axial.h5, sagittal.h5 and coronal.h5, of 1 mm and without our card, as the authors' are."""
    keras.utils.set_random_seed(1)
    grid = template_grid(1.0)
    for plane in PLANES:
        network = network_of(plane, grid)
        keras2_config.write(network, card_of(network, plane, grid), folder / f"{plane}.h5")
        with h5py.File(folder / f"{plane}.h5", "a") as file:
            del file.attrs[CARD]
