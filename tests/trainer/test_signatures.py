"""The exported model: raw slices in, probabilities out, the same as the network's own, and counts that agree."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from lesions.provenance import card_from_json, read_card
from lesions.slices import canvas, slice_shape
from tests.conftest import SMALLEST, SMALLEST_PARAMETERS
from tests.trainer.conftest import GRID
from tests.trainer.stages import settled
from trainer import checkpoint, fit, input, job, networks, records, signatures, warmup
from trainer.networks import NETWORKS
from trainer.settings import TrainingSettings

SHAPE, PADDING = slice_shape(GRID.shape, "axial"), canvas(GRID.shape, "axial")
ROUNDING = 5e-4  # X-Net's untrained activations go into the thousands


def raw(n, stacked=(), seed=0):
    return np.random.default_rng(seed).gamma(2.0, 300.0, (n, *stacked, *SHAPE)).astype(np.float32)


def on_canvas(slices):
    """What the network must see of raw slices or stacks: channels last, each slice by its own maximum."""
    scaled = 255 * slices / slices.max(axis=(-2, -1), keepdims=True)
    pads = [(0, 0)] * (slices.ndim - 2)
    padded = np.pad(scaled, [*pads, PADDING.rows, PADDING.columns])
    return np.moveaxis(padded, 1, -1) if slices.ndim == 4 else padded[..., None]


QUICK = ("raxnet", "dunet")  # one slice and a stack; the others take five times as long to be exported
KINDS = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(NETWORKS)]


@pytest.fixture(scope="module", params=KINDS)
def exported(request, tmp_path_factory):
    """Network, exported model, and how many slices it is asked with: () for one."""
    context = NETWORKS[request.param].context
    stacked = () if len(context) == 1 else (len(context),)
    network = settled(request.param, *PADDING.padded(*SHAPE), on_canvas(raw(4, stacked, seed=1)))
    folder = tmp_path_factory.mktemp("model")
    signatures.export(network, SHAPE, PADDING, folder, context)
    return network, tf.saved_model.load(str(folder)), stacked


def ask(exported, slices):
    answer = exported[1].signatures["serving_default"](slices=tf.constant(slices))
    assert list(answer) == ["probabilities"]
    return answer["probabilities"].numpy()


def test_scaling_padding_and_cropping_are_inside(exported):
    network, _, stacked = exported
    slices = raw(3, stacked)
    (top, _), (left, _) = PADDING.rows, PADDING.columns
    whole = np.asarray(network(on_canvas(slices), training=False))[..., 0]
    expected = whole[:, top : top + SHAPE[0], left : left + SHAPE[1]]
    assert expected.std() > 0.05
    np.testing.assert_allclose(ask(exported, slices), expected, atol=ROUNDING)


@pytest.mark.parametrize("n", [0, 1, 16, 17, 37])
def test_any_number_of_slices_is_answered_slice_by_slice(exported, n):
    slices = raw(37, exported[2])
    answer = ask(exported, slices[:n])
    assert answer.shape == (n, *SHAPE)
    np.testing.assert_allclose(answer, ask(exported, slices)[:n], atol=ROUNDING)


def ask_packed(exported, strings):
    return exported[1].signatures["slices_bytes"](slices_bytes=tf.constant(strings, tf.string))


@pytest.mark.parametrize("n", [0, 1, 17])
def test_packed_slices_are_answered_with_the_same_bits(exported, n):
    slices = raw(n, exported[2])
    answer = ask_packed(exported, [one.astype("<f4").tobytes() for one in slices])
    assert list(answer) == ["probabilities_bytes"]
    expected = [one.astype("<f4").tobytes() for one in ask(exported, slices)]
    assert answer["probabilities_bytes"].numpy().tolist() == expected


@pytest.mark.parametrize("wrong", [b"", b"abc", bytes(4), "one voxel short", "one voxel more"])
def test_strings_of_another_length_are_refused_and_the_rule_said(exported, wrong):
    good = raw(1, exported[2])[0].tobytes()
    wrong = {"one voxel short": good[:-4], "one voxel more": good + bytes(4)}.get(wrong, wrong)
    for strings in ([wrong], [good, wrong]):
        with pytest.raises(tf.errors.InvalidArgumentError, match=rf"float32, {len(good)} bytes"):
            ask_packed(exported, strings)


def test_every_signature_refuses_another_rank_before_it_computes(exported):
    """Otherwise a convolution of the wrong rank ends the server's process.

    Seen: docs/spec/tensorflow_serving.md#process-death.
    """
    infer = exported[1].signatures
    good = raw(1, exported[2])
    wrong = {
        "serving_default": {"slices": tf.constant(good[0])},
        "slices_bytes": {"slices_bytes": tf.constant(good[0].tobytes())},
        "counts": {"examples": tf.constant("")},
    }
    assert set(wrong) == set(infer)
    for name, inputs in wrong.items():
        with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible with expected shape"):
            infer[name](**inputs)


def test_units_do_not_matter_and_an_empty_slice_stays_empty(exported):
    slices = raw(2, exported[2])
    target = NETWORKS[exported[0].name].context.index(0)
    slices[(1, target) if exported[2] else 1] = 0  # its neighbors are not empty
    answer = ask(exported, slices)
    assert (answer[1] == 0).all()
    assert (answer[0] > 0).all()
    np.testing.assert_allclose(ask(exported, slices * 7), answer, atol=ROUNDING)


def test_negative_intensities_count_as_background(exported):
    slices = raw(1, exported[2])
    slices[..., :5, :] *= -1
    np.testing.assert_array_equal(ask(exported, slices), ask(exported, np.maximum(slices, 0)))


def test_another_slice_size_is_refused(exported):
    with pytest.raises((tf.errors.InvalidArgumentError, TypeError, ValueError)):
        ask(exported, raw(1, exported[2])[..., 1:])


def test_other_slices_than_the_network_takes_are_refused():
    network = networks.build("raxnet", *PADDING.padded(*SHAPE))
    with pytest.raises(ValueError, match="raxnet takes 1 slices, its context has 2"):
        signatures.export(network, SHAPE, PADDING, "nowhere", (-1, 0))


def test_counts_are_those_of_the_probabilities(exported, examples):
    network, model, stacked = exported
    index, context = input.read_index(examples, [1, 2, 3]), NETWORKS[network.name].context
    numbers = np.arange(len(index.rows))
    serialized = tf.constant(index.read(index.neighbors(numbers, context)))
    counts = model.signatures["counts"](examples=serialized if stacked else serialized[:, 0])
    images, masks = records.decode_stacks(serialized, context.index(0), *SHAPE)
    predicted = ask(exported, images if stacked else images[:, 0]) > 0.5
    truth = masks.numpy() > 0.5
    assert len(index.rows) > 2 * signatures.MICRO_BATCH
    assert predicted.any()
    np.testing.assert_array_equal(counts["tp"], (truth & predicted).sum(axis=(1, 2)))
    np.testing.assert_array_equal(counts["fp"], (~truth & predicted).sum(axis=(1, 2)))
    np.testing.assert_array_equal(counts["fn"], (truth & ~predicted).sum(axis=(1, 2)))


def training(examples, folder, fold=1, code="a", **settings):
    others = tuple(k for k in (1, 2, 3) if k != fold)
    kept = folder / "checkpoints"
    return job.Training(examples, "axial", fold, others, TrainingSettings(**settings), kept, code)


@pytest.fixture(scope="module")
def done(examples, tmp_path_factory):
    """A finished training, its model's card, and the model's folder."""
    folder = tmp_path_factory.mktemp("job")
    one = training(examples, folder, batch_size=4, epochs=1, patience=1, network_options=SMALLEST)
    assert not one.finished
    return one, job.export(one, *job.train(one), folder / "model"), folder / "model"


def test_a_job_leaves_a_model_that_says_what_it_is(done):
    one, card, model = done
    assert one.finished
    assert read_card(model) == card
    assert card.weights == job.weights_digest(job.train(one)[0])  # which trains no more
    assert (card.subjects, card.validation_subjects, card.phantom) == (4, 2, True)
    assert card.parameters == SMALLEST_PARAMETERS
    assert "phantom" in card.statement()
    assert (model / job.HISTORY).is_file()
    assert len(list((model.parent / "checkpoints/axial/fold_1").iterdir())) == 1


def test_a_model_tells_its_card_and_brings_warm_up_requests_that_it_answers(done):
    _, card, model = done
    infer = tf.saved_model.load(str(model)).signatures
    told = infer["card"](query=tf.constant(["", "x"]))["card"].numpy()
    assert [card_from_json(text.decode(), "signature") for text in told] == [card, card]
    records = [bytes(r.numpy()) for r in tf.data.TFRecordDataset(str(model / warmup.FILE))]
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    counts = {}
    for log in logs:
        request = log.predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        (answer,) = infer[request.model_spec.signature_name](**inputs).values()
        counts[request.model_spec.signature_name] = len(answer)
    assert counts == {"serving_default": 1, "slices_bytes": 16}
    slices = warmup.phantom_slices(card)
    assert slices.shape == (16, *card.asked_with)
    assert (slices > 0).mean() > 0.2  # a head, not air


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
