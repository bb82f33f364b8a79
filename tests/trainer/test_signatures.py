"""The exported model: raw slices in, probabilities out, the same as the network's own, and counts that agree."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lesions.provenance import read_card
from lesions.slices import canvas, slice_shape
from tests.trainer.conftest import GRID
from trainer import checkpoint, fit, input, job, networks, records, signatures
from trainer.settings import TrainingSettings

SHAPE, PADDING = slice_shape(GRID.shape, "axial"), canvas(GRID.shape, "axial")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    keras.utils.set_random_seed(1)
    network = networks.build("raxnet", *PADDING.padded(*SHAPE))
    folder = tmp_path_factory.mktemp("model")
    signatures.export(network, SHAPE, PADDING, folder)
    return network, tf.saved_model.load(str(folder))


def raw(n, seed=0):
    return np.random.default_rng(seed).gamma(2.0, 300.0, (n, *SHAPE)).astype(np.float32)


def test_scaling_padding_and_cropping_are_inside(exported):
    network, model = exported
    slices = raw(3)
    scaled = 255 * slices / slices.max(axis=(1, 2), keepdims=True)
    padded = np.pad(scaled, [(0, 0), PADDING.rows, PADDING.columns])[..., None]
    (top, _), (left, _) = PADDING.rows, PADDING.columns
    expected = network.predict(padded, verbose=0)[:, top : top + SHAPE[0], left : left + SHAPE[1], 0]
    answer = model.signatures["serving_default"](slices=tf.constant(slices))["probabilities"]
    np.testing.assert_allclose(answer, expected, atol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 16, 17, 37])
def test_any_number_of_slices_is_answered_slice_by_slice(exported, n):
    serve = exported[1].signatures["serving_default"]
    slices = raw(37)
    whole = serve(slices=tf.constant(slices))["probabilities"].numpy()
    np.testing.assert_allclose(serve(slices=tf.constant(slices[:n]))["probabilities"], whole[:n], atol=1e-5)


def test_units_do_not_matter_and_an_empty_slice_stays_empty(exported):
    serve = exported[1].signatures["serving_default"]
    slices = raw(2)
    slices[1] = 0
    answer = serve(slices=tf.constant(slices))["probabilities"].numpy()
    assert (answer[1] == 0).all()
    assert (answer[0] > 0).all()
    np.testing.assert_allclose(serve(slices=tf.constant(slices * 7))["probabilities"], answer, atol=1e-5)


def test_another_slice_size_is_refused(exported):
    with pytest.raises((tf.errors.InvalidArgumentError, TypeError, ValueError)):
        exported[1].signatures["serving_default"](slices=tf.zeros([1, SHAPE[0] + 1, SHAPE[1]]))


def test_counts_are_those_of_the_probabilities(exported, examples):
    model = exported[1]
    index = input.read_index(examples, [1, 2, 3])
    serialized = tf.constant(index.read(np.arange(len(index.rows))))
    counts = model.signatures["counts"](examples=serialized)
    parsed = records.decode(serialized, *SHAPE)
    predicted = model.signatures["serving_default"](slices=parsed["image"])["probabilities"].numpy() > 0.5
    truth = parsed["mask"].numpy() > 0.5
    assert len(index.rows) > 2 * signatures.MICRO_BATCH
    assert predicted.any()
    np.testing.assert_array_equal(counts["tp"], (truth & predicted).sum(axis=(1, 2)))
    np.testing.assert_array_equal(counts["fp"], (~truth & predicted).sum(axis=(1, 2)))
    np.testing.assert_array_equal(counts["fn"], (truth & ~predicted).sum(axis=(1, 2)))


def training(examples, tmp_path, fold=1, code="a", **settings):
    others = tuple(k for k in (1, 2, 3) if k != fold)
    kept = tmp_path / "checkpoints"
    return job.Training(examples, "axial", fold, others, TrainingSettings(**settings), kept, code)


def test_a_job_leaves_a_model_that_says_what_it_is(examples, tmp_path):
    one = training(examples, tmp_path, batch_size=4, epochs=1, patience=1)
    assert not one.finished
    card = job.export(one, *job.train(one), tmp_path / "model")
    assert one.finished
    assert read_card(tmp_path / "model") == card
    assert (card.subjects, card.validation_subjects, card.phantom, card.parameters) == (4, 2, True, 4_837_473)
    assert "phantom" in card.statement()
    assert (tmp_path / "model" / job.HISTORY).is_file()
    assert len(list((tmp_path / "checkpoints/axial/fold_1").iterdir())) == 1


def test_checkpoints_are_shared_by_runs_that_differ_in_length_only(examples, tmp_path):
    folders = [
        training(examples, tmp_path, **changes).folder
        for changes in ({}, {"epochs": 3, "patience": 2}, {"fold": 2}, {"seed": 1}, {"code": "b"})
    ]
    assert folders[0] == folders[1]
    assert len(set(folders)) == 4


def test_a_training_is_finished_by_its_epochs_or_by_its_patience(examples, tmp_path):
    one = training(examples, tmp_path, epochs=4, patience=2)
    one.folder.mkdir(parents=True)
    for epoch, best, finished in ((3, 2, False), (4, 3, True), (3, 1, True)):
        checkpoint.save(one.folder / fit.LAST, [], checkpoint.State(epoch, best, 0.5))
        assert one.finished is finished
