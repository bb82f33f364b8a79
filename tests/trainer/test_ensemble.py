"""Exported networks, averaged in one model that stands alone."""

import logging
import shutil

import keras
import numpy as np
import tensorflow as tf

from lesions.provenance import card_from_json, read_card
from lesions.slices import canvas, slice_shape
from tests.serving.conftest import make_card
from tests.trainer.conftest import GRID
from trainer import signatures
from trainer.ensemble import export_ensemble

SHAPE, PADDING = slice_shape(GRID.shape, "axial"), canvas(GRID.shape, "axial")


def network(seed):
    keras.utils.set_random_seed(seed)
    convolution = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")
    return keras.Sequential(
        [keras.Input((*PADDING.padded(*SHAPE), 1)), keras.layers.BatchNormalization(), convolution]
    )


def answer(model, slices):
    return model.signatures["serving_default"](slices=tf.constant(slices))["probabilities"].numpy()


def test_the_mean_of_two_networks(tmp_path):
    folders = []
    for fold in (1, 2):
        folders.append(tmp_path / f"fold_{fold}")
        signatures.export(network(fold), SHAPE, PADDING, folders[-1])
        make_card("axial", GRID, fold=fold).write(folders[-1])
    slices = (
        np.random.default_rng(0).gamma(2.0, 300.0, (signatures.MICRO_BATCH + 1, *SHAPE)).astype(np.float32)
    )
    single = [answer(tf.saved_model.load(str(folder)), slices) for folder in folders]
    assert np.abs(single[0] - single[1]).max() > 0.01
    level = logging.getLogger("absl").level
    card = export_ensemble(folders, tmp_path / "mean")
    assert logging.getLogger("absl").level == level
    for folder in folders:
        shutil.rmtree(folder)
    model = tf.saved_model.load(str(tmp_path / "mean"))
    np.testing.assert_allclose(answer(model, slices), np.mean(single, axis=0), atol=1e-6)
    assert answer(model, slices[:0]).shape == (0, *SHAPE)
    assert set(model.signatures) == {"serving_default", "slices_bytes", "card"}
    packed = model.signatures["slices_bytes"](slices_bytes=tf.constant([one.tobytes() for one in slices]))
    assert packed["probabilities_bytes"].numpy().tolist() == [one.tobytes() for one in answer(model, slices)]
    (told,) = model.signatures["card"](query=tf.constant([""]))["card"].numpy()
    assert card_from_json(told.decode(), "signature") == card
    assert read_card(tmp_path / "mean") == card
    assert card.members == (1, 2)
