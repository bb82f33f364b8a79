"""Several exported models of one plane as one: the mean of their probabilities."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import tensorflow as tf

from lesions.provenance import ModelCard, read_card
from trainer import signatures


class Ensemble(tf.Module):
    """Exported models whose answers are averaged."""

    def __init__(self, folders: Sequence[Path], asked_with: tuple[int, ...]):
        """Args: folders: Their SavedModels. asked_with: Shape of a slice, or of a stack of slices."""
        super().__init__(name="raxnet_ensemble")
        self.asked_with = list(asked_with)
        self.members = [tf.saved_model.load(str(folder)) for folder in folders]

    def serve(self, slices: tf.Tensor) -> dict[str, tf.Tensor]:
        """serving_default: slices, or stacks of them -> mean probabilities (N, height, width)."""
        slices = tf.ensure_shape(slices, [None, *self.asked_with])
        answers = [m.signatures["serving_default"](slices=slices)["probabilities"] for m in self.members]
        return {"probabilities": tf.add_n(answers) / len(answers)}

    def serve_bytes(self, slices_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """slices_bytes: what `serve` does, packed (see `signatures.unpack`)."""
        slices_bytes = tf.ensure_shape(slices_bytes, [None])
        answer = self.serve(signatures.unpack(slices_bytes, self.asked_with))
        return {"probabilities_bytes": signatures.pack(answer["probabilities"])}


def export_ensemble(folders: Sequence[Path], output: Path) -> ModelCard:
    """Writes the mean of several folds' models as one SavedModel, which is pushed and served like any other.

    It has no signature `counts`: each fold's slices were among the training slices of the other folds' models.

    Args:
        folders: SavedModels of one plane, one per fold, two or more.
        output: Where saved_model.pb goes.

    Returns:
        The card written into the model.
    """
    cards = [read_card(folder) for folder in folders]
    card = replace(
        cards[0],
        fold=0,
        members=tuple(card.fold for card in cards),
        subjects=cards[0].subjects
        + cards[0].validation_subjects,  # what one was validated on trained another
        validation_subjects=0,
        epochs=sum(card.epochs for card in cards),
        best_epoch=0,
        parameters=sum(card.parameters for card in cards),
        weights=hashlib.sha256("".join(card.weights for card in cards).encode()).hexdigest(),
    )
    signatures.save(Ensemble(folders, card.asked_with), output, card.asked_with, card)
    return card
