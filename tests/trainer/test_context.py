"""Networks that see neighbors: the same stacks of slices in training, evaluation and segmentation."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from lesions.grid import Volume
from lesions.ingest import slices_of
from lesions.provenance import ModelCard, read_card
from lesions.slices import AXIS, PLANES, canvas, slice_shape, stacks
from serving.predictor import SavedModelPredictor
from serving.segmenter import segment
from tests.trainer.conftest import GRID, make_subject
from trainer import evaluate, input, job, records, signatures
from trainer.networks.dunet import CONTEXT
from trainer.settings import TrainingSettings

EMPTY = {"sagittal": (0, 9, 19), "coronal": (1, 12, 24), "axial": (0, 1, 8, 17)}  # gaps inside, and borders
WIDE = (-3, -1, 0, 2)


def subject(seed):
    """A volume with content up to its borders, but for some empty slices of every plane, and its mask."""
    rng = np.random.default_rng(seed)
    data = rng.integers(1, 900, GRID.shape).astype(np.float32)
    for plane, rows in EMPTY.items():
        np.moveaxis(data, AXIS[plane], 0)[list(rows)] = 0
    return Volume(data, GRID), (rng.random(GRID.shape) < 0.05) & (data > 0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Examples folders of two subjects and three planes."""
    found = {}
    for plane in PLANES:
        found[plane] = tmp_path_factory.mktemp(plane)
        for seed, name in enumerate(("sub-a", "sub-b")):
            records.write_shard(found[plane], 1, name, slices_of(name, *subject(seed), plane))
        job.Facts("made up", True, "data", "folds", GRID).write(found[plane])
    return found


def expected(data, plane, index, context):
    """By plain loops: each slice scaled by its own maximum, zeros for what is empty or outside."""
    along = np.moveaxis(data, AXIS[plane], 0)
    out = np.zeros((len(context), *along.shape[1:]), np.float32)
    for channel, offset in enumerate(context):
        if 0 <= index + offset < len(along) and along[index + offset].max() > 0:
            out[channel] = 255 * along[index + offset] / along[index + offset].max()
    return out


def inner(padding, shape):
    (top, _), (left, _) = padding.rows, padding.columns
    return np.s_[:, top : top + shape[0], left : left + shape[1]]


@pytest.mark.parametrize("context", [CONTEXT, WIDE, (0,)])
@pytest.mark.parametrize("plane", PLANES)
def test_training_sees_the_neighbors_along_the_plane_s_normal(folders, plane, context):
    shape, padding = slice_shape(GRID.shape, plane), canvas(GRID.shape, plane)
    index = input.read_index(folders[plane], [1])
    plan = np.array_split(np.random.default_rng(0).permutation(len(index.rows)), 5)
    seen = 0
    for rows, (image, mask) in zip(plan, input.dataset(index, plan, shape, padding, context), strict=True):
        assert image.shape == (len(rows), *padding.padded(*shape), len(context))
        assert mask.shape == (len(rows), *padding.padded(*shape), 1)
        for row, stack, truth in zip(rows, image.numpy(), mask.numpy(), strict=True):
            volume, lesion = subject(int(index.shard[row]))
            number = int(index.rows["slice"][row])
            own = np.moveaxis(stack, -1, 0)
            inside = own[inner(padding, shape)]
            np.testing.assert_allclose(inside, expected(volume.data, plane, number, context), atol=0.003)
            assert own.sum() == pytest.approx(inside.sum(), rel=1e-6)  # the padding is zeros
            target = np.moveaxis(lesion, AXIS[plane], 0)[number]
            np.testing.assert_array_equal(truth[..., 0][inner(padding, shape)[1:]], target)
            seen += 1
    assert seen == 2 * (GRID.shape[AXIS[plane]] - len(EMPTY[plane]))


def test_a_subject_s_neighbors_are_its_own(folders):
    """The first slice of one shard lies behind the last one of another."""
    index = input.read_index(folders["coronal"], [1])
    first = int(np.flatnonzero(index.shard == 1)[0])
    assert index.rows["slice"][first] == 0
    assert index.neighbors(np.array([first, first - 1]), (-1, 0, 1)).tolist() == [
        [-1, first, -1],  # slice 1 is empty
        [first - 2 if index.rows["slice"][first - 2] == 24 else -1, first - 1, -1],
    ]


@given(
    st.lists(st.sets(st.integers(0, 30), min_size=1), min_size=1, max_size=4),
    st.sets(st.integers(-4, 4)).map(lambda extra: tuple(sorted(extra | {0}))),
)
@settings(max_examples=60, deadline=None)
def test_neighbors_are_found_by_subject_and_slice(subjects, context):
    rows = [(shard, number) for shard, numbers in enumerate(subjects) for number in sorted(numbers)]
    table = np.zeros(len(rows), records.INDEX)
    table["slice"] = [number for _, number in rows]
    names = tuple(map(str, range(len(subjects))))
    index = input.Index(names, names, np.array([shard for shard, _ in rows], np.int32), table)
    found = index.neighbors(np.arange(len(rows)), context)
    for (shard, number), neighbors in zip(rows, found, strict=True):
        for offset, neighbor in zip(context, neighbors, strict=True):
            place = (shard, number + offset)
            assert neighbor == (rows.index(place) if place in rows else -1)


def test_stacks_are_zero_outside():
    slices = np.arange(1, 5, dtype=np.float32)[:, None, None] * np.ones((4, 2, 3), np.float32)
    found = stacks(slices, np.array([0, 3]), CONTEXT)
    assert found.shape == (2, 4, 2, 3)
    assert found[:, :, 0, 0].tolist() == [[0, 0, 1, 2], [2, 3, 4, 0]]
    assert slices[0].min() == 1  # a copy: nothing was set to zero in the volume


def asked(volume, plane, context):
    """What the segmenter asks a model of this plane, by target slice."""
    card = SimpleNamespace(grid=GRID, context=context)
    seen = []

    def predict(_, slices):
        seen.append(slices.copy())
        return np.zeros((len(slices), *slices.shape[-2:]), np.float32)

    predictor = SimpleNamespace(planes=(plane,), slices_at_once=16, card=lambda _: card, predict=predict)
    segment(volume, predictor)
    return np.concatenate(seen)


@pytest.mark.parametrize("context", [CONTEXT, (0,)])
@pytest.mark.parametrize("plane", PLANES)
def test_the_segmenter_asks_with_the_stacks_of_the_training(folders, plane, context):
    shape, padding = slice_shape(GRID.shape, plane), canvas(GRID.shape, plane)
    index = input.read_index(folders[plane], [1])
    own = np.flatnonzero(index.shard == 0)
    ((image, _),) = input.dataset(index, [own], shape, padding, context)
    trained = np.moveaxis(image.numpy(), -1, 1)[(slice(None), *inner(padding, shape))]
    raw = asked(subject(0)[0], plane, context)
    if context == (0,):
        assert raw.shape == (len(own), *shape)
        raw = raw[:, None]
    peaks = raw.max(axis=(2, 3), keepdims=True)
    scaled = np.divide(255 * raw, peaks, out=np.zeros_like(raw), where=peaks > 0)
    np.testing.assert_allclose(scaled, trained, atol=0.003)


def test_smear_of_reslicing_is_no_neighbor():
    """Slices below the floor are empty: scaled to their own maximum they would be noise at full brightness."""
    data = np.zeros((40, 52, 36), np.float32)  # half the spacing of the models' grid
    data[8:32, 10:42, 11:25] = 700
    matrix = GRID.matrix @ np.diag([0.5, 0.5, 0.5, 1.0])
    stacked = asked(Volume(data, type(GRID).of(data.shape, matrix)), "axial", CONTEXT)
    peaks = stacked.max(axis=(2, 3))
    assert (peaks == 0).any()
    assert peaks[peaks > 0].min() > 0.1


class WeighSlices(keras.layers.Layer):
    """A network of known answer: probability from the mean of its four slices, weighed 1, 2, 4, 8."""

    def call(self, image):
        weights = ops.convert_to_tensor([1.0, 2.0, 4.0, 8.0])
        return ops.sum(image * weights, axis=-1, keepdims=True) / (255.0 * 15.0)


def save(folder, plane):
    padding, shape = canvas(GRID.shape, plane), slice_shape(GRID.shape, plane)
    image = keras.Input((*padding.padded(*shape), 4))
    signatures.export(keras.Model(image, WeighSlices()(image)), shape, padding, folder, CONTEXT)
    card = ModelCard(
        plane, 1, "weigh", "none", GRID, (padding.rows, padding.columns), "made up", True, 1, 1, "f", "d", 1, 1, 0,
        context=CONTEXT,
    )  # fmt: skip
    card.write(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return {plane: save(tmp_path_factory.mktemp("model"), plane) for plane in PLANES}


def answer(data, plane, index):
    weights = np.array([1, 2, 4, 8], np.float32)[:, None, None]
    return (expected(data, plane, index, CONTEXT) * weights).sum(axis=0) / (255 * 15)


def test_a_volume_is_segmented_through_exported_models_that_see_neighbors(models):
    volume, _ = subject(0)
    done = segment(volume, SavedModelPredictor(models))
    for plane in PLANES:
        found = np.moveaxis(done.plane_probabilities[plane], AXIS[plane], 0)
        for index, probability in enumerate(found):
            want = 0 if index in EMPTY[plane] else answer(volume.data, plane, index)
            np.testing.assert_allclose(probability, want, atol=1e-5)


@pytest.mark.parametrize("plane", PLANES)
def test_counts_are_those_of_the_stacks(models, folders, plane):
    table = evaluate.slice_counts(models[plane], folders[plane], 1, plane)
    assert len(table) == 2 * (GRID.shape[AXIS[plane]] - len(EMPTY[plane]))
    for row in table.itertuples():
        volume, lesion = subject(("sub-a", "sub-b").index(row.subject))
        predicted = answer(volume.data, plane, row.slice) > 0.5
        truth = np.moveaxis(lesion, AXIS[plane], 0)[row.slice]
        found = {"tp": truth & predicted, "fp": ~truth & predicted, "fn": truth & ~predicted}
        # 16-bit pixels: a probability at the threshold itself may fall on the other side
        for name, pixels in found.items():
            assert abs(getattr(row, name) - int(pixels.sum())) <= 1
    assert table["tp"].sum() > 0
    assert table["fn"].sum() > 0


def test_one_slice_or_another_number_is_refused_by_a_model_of_four(models):
    predictor = SavedModelPredictor(models)
    height, width = slice_shape(GRID.shape, "axial")
    for shape in ((2, height, width), (2, 3, height, width)):
        with pytest.raises(Exception, match=rf"expected \(n, 4, {height}, {width}\), found"):
            predictor.predict("axial", np.ones(shape, np.float32))


@pytest.mark.slow
def test_a_training_with_neighbors_from_records_to_masks(examples, tmp_path):
    """D-UNet, all the way: trained, evaluated, exported, its card read, a volume segmented."""
    options = TrainingSettings(network="dunet", loss="enhanced_mixing", batch_size=4, epochs=1, patience=1)
    one = job.Training(examples, "axial", 1, (2, 3), options, tmp_path / "checkpoints", "code")
    card = job.export(one, *job.train(one), tmp_path / "model")
    assert read_card(tmp_path / "model") == card
    assert card.context == (-2, -1, 0, 1)
    assert card.parameters == 8_640_163
    table = evaluate.slice_counts(tmp_path / "model", examples, 1, "axial")
    assert (table["tp"] + table["fn"] == table["lesion_voxels"]).all()
    volume, _ = make_subject(0)
    done = segment(volume, SavedModelPredictor({"axial": tmp_path / "model"}))
    filled = volume.data.max(axis=(0, 1)) > 0
    assert (done.plane_probabilities["axial"].max(axis=(0, 1)) > 0).tolist() == filled.tolist()
    # The evaluation's counts of a subject are those of its segmentation.
    predicted = done.plane_probabilities["axial"] > 0.5
    own = table[table["subject"] == "sub-a"]
    assert abs(int((own["tp"] + own["fp"]).sum()) - int(predicted.sum())) <= 2
    assert tf.io.gfile.exists(str(tmp_path / "model" / job.HISTORY))
