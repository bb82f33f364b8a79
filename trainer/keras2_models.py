"""The method's published weights as our models, and ours as files that the authors' container loads."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import keras
import tensorflow as tf

from lesions.errors import InputError
from lesions.grid import ATLAS_SHAPE, template_grid
from lesions.provenance import ModelCard, card_from_json, read_card
from lesions.slices import canvas, slice_shape
from trainer import job, keras2_config, keras2_h5, networks, signatures
from trainer.keras2_h5 import SavedNetwork
from trainer.rearrange import rearrange


@dataclass(frozen=True, eq=False)
class Imported:
    """A file of a plane as it will be exported.

    Attributes:
        saved: What was read.
        network: Ours, with the file's weights.
        card: On the grid and with the canvas that the authors' code has.
    """

    saved: SavedNetwork
    network: keras.Model
    card: ModelCard


def read(files: Sequence[Path], dataset: str) -> dict[str, Imported]:
    """Reads files.

    Args:
        files: Of Keras 2, one for each plane.
        dataset: What they were trained on, for the cards; a card in a file stands.

    Returns:
        Plane to what its file holds.

    Raises:
        InputError: A file cannot be used, or two are of one plane.
    """
    found: dict[str, Imported] = {}
    for saved in map(keras2_h5.read, files):
        plane = saved.plane
        if plane in found:
            raise InputError(
                f"{saved.path}: of the {plane} plane, as {found[plane].saved.path} is; give one of them"
            )
        network = _network(plane)
        saved.fill(network)
        found[plane] = Imported(saved, network, _card(saved, network, dataset))
    return found


def export(imported: Imported, folder: Path) -> None:
    """Writes a SavedModel as a training does.

    Args:
        imported: From `read`.
        folder: Where saved_model.pb goes.
    """
    card = imported.card
    shape, padding = slice_shape(ATLAS_SHAPE, card.plane), canvas(ATLAS_SHAPE, card.plane)
    signatures.export(imported.network, shape, padding, folder, card=card)


def _network(plane: str) -> keras.Model:
    rows, columns = canvas(ATLAS_SHAPE, plane).padded(*slice_shape(ATLAS_SHAPE, plane))
    return networks.build(keras2_h5.NETWORK, rows, columns)


def _card(saved: SavedNetwork, network: keras.Model, dataset: str) -> ModelCard:
    source = f"{saved.path.name}, SHA-256 {hashlib.sha256(saved.path.read_bytes()).hexdigest()}"
    digest = job.weights_digest(network)
    if saved.card:
        card = card_from_json(saved.card, str(saved.path))
        if (card.plane, card.weights) != (saved.plane, digest):
            raise InputError(f"{saved.path}: its card is of another model ({card.plane}); export it again")
        return replace(card, source=source)
    padding = canvas(ATLAS_SHAPE, saved.plane)
    return ModelCard(
        plane=saved.plane,
        fold=0,
        network=keras2_h5.NETWORK,
        loss=saved.loss or "not known",
        grid=template_grid(),
        canvas=(padding.rows, padding.columns),
        dataset=dataset,
        phantom=False,
        subjects=0,
        validation_subjects=0,
        fold_map="",
        data="",
        epochs=0,
        best_epoch=0,
        parameters=network.count_params(),
        software={"keras": saved.version or "not known", "tensorflow": "not known"}
        | {"imported with tensorflow": metadata.version("tensorflow")},
        weights=digest,
        source=source,
    )


def write(model: Path, path: Path) -> None:
    """Writes a model of ours as a file of Keras 2, which the authors' container loads.

    Args:
        model: SavedModel folder of one plane.
        path: The file.

    Raises:
        InputError: The authors' network has no place for it.
    """
    card = read_card(model)
    fits = card.network == keras2_h5.NETWORK and not card.members and card.grid.shape == ATLAS_SHAPE
    if not fits:
        found = "several folds' mean" if card.members else card.network
        raise InputError(
            f"{model}: must be one {keras2_h5.NETWORK} network for {ATLAS_SHAPE} voxels, "
            f"found {found} for {card.grid.shape}; export another"
        )
    network = _network(card.plane)
    for exported in (
        rearrange(network),
        network,
    ):  # in the method's own order where it was exported before that was done
        _restore(exported, str(model / "variables" / "variables"))
        for layer in exported.layers:
            network.get_layer(layer.name).set_weights(layer.get_weights())
        if job.weights_digest(network) == card.weights:
            keras2_config.write(network, card, path)
            return
    raise InputError(f"{model}: not the method's own network, or damaged; export another")


def _restore(network: keras.Model, stored: str) -> None:
    """Reads a SavedModel's variables where they are a network's of this order; its digest tells whether they were."""
    with contextlib.suppress(tf.errors.OpError, ValueError):
        found = [
            tuple(shape) for name, shape in tf.train.list_variables(stored) if name.startswith("network/")
        ]
        if sorted(found) == sorted(tuple(weight.shape) for weight in network.weights):
            tf.train.Checkpoint(network=network).restore(stored).expect_partial()
