"""Records come back as they went in, and an epoch is its plan: nothing lost, nothing twice."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from lesions.errors import WorkError
from lesions.ingest import slices_of
from lesions.slices import canvas, cut, slice_shape
from tests.trainer.conftest import GRID, SUBJECTS, make_subject
from trainer import input, records

SHAPE, PADDING = slice_shape(GRID.shape, "axial"), canvas(GRID.shape, "axial")


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_a_record_holds_the_scaled_slice_and_its_mask(plane):
    image, mask = make_subject(0)
    for record in slices_of("sub-a", image, mask, plane):
        parsed = records.decode(tf.constant([records.encode(record)]), record.height, record.width)
        pixels, truth = cut(image.data, plane)[record.slice], cut(mask, plane)[record.slice]
        np.testing.assert_allclose(parsed["image"][0], 255 * pixels / pixels.max(), atol=0.003)
        np.testing.assert_array_equal(parsed["mask"][0], truth)
        assert int(parsed["lesion_voxels"][0]) == truth.sum()
        assert (int(parsed["size_category"][0]) > 0) == truth.any()
        assert parsed["subject"][0].numpy() == b"sub-a"


def test_background_is_no_record_and_everything_else_is():
    image, mask = make_subject(1)
    kept = [record.slice for record in slices_of("sub-b", image, mask, "axial")]
    assert kept == np.flatnonzero(image.data.max(axis=(0, 1)) > 0).tolist()


def test_tensorflow_reads_the_shards_too(examples):
    shard = records.shard_path(examples, 1, "sub-a")
    whole = [data.numpy() for data in tf.data.TFRecordDataset(str(shard))]
    index = input.read_index(examples, [1])
    own = np.flatnonzero(np.array(index.subjects)[index.shard] == "sub-a")
    assert index.read(own).tolist() == whole


def test_nothing_but_shards_lies_where_readers_look(examples):
    found = sorted(path.name for path in examples.glob("Split-*/*"))
    assert found == sorted(f"{subject}.tfrecord" for subject in SUBJECTS)


def test_an_epoch_shows_every_lesion_slice_once_and_as_many_normals(examples):
    index = input.read_index(examples, [1, 2])
    plan = input.plan(index, 4, seed=3, epoch=0)
    seen = Counter(int(row) for batch in plan for row in batch if index.rows["category"][row] > 0)
    lesions = np.flatnonzero(index.rows["category"] > 0)
    assert seen == Counter(lesions.tolist())
    assert sum(len(batch) for batch in plan) == 2 * len(lesions)


def test_batches_are_the_plans_records_on_the_canvas(examples):
    index = input.read_index(examples, [2, 3])
    plan = input.plan(index, 4, seed=0, epoch=1)
    batches = list(input.dataset(index, plan, SHAPE, PADDING))
    assert len(batches) == len(plan)
    for rows, (image, mask) in zip(plan, batches, strict=True):
        assert image.shape == mask.shape == (len(rows), *PADDING.padded(*SHAPE), 1)
        np.testing.assert_array_equal(tf.reduce_sum(mask, [1, 2, 3]), index.rows["lesion_voxels"][rows])
        assert float(tf.reduce_max(image)) == pytest.approx(255.0)


def test_epochs_differ_and_seeds_repeat(examples):
    index = input.read_index(examples, [1, 2])
    first, again, later = (input.plan(index, 4, 7, epoch) for epoch in (0, 0, 1))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a.tolist() != b.tolist()) for a, b in zip(first, later, strict=True))


def test_a_fold_without_records_is_named(examples):
    with pytest.raises(WorkError, match="fold 9"):
        input.read_index(examples, [1, 9])
