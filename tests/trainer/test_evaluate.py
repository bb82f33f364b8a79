"""Every record of the validation fold is counted once, none is left out, whatever the batch."""

import numpy as np
import pytest
import tensorflow as tf

from lesions.slices import slice_shape
from tests.serving.conftest import make_card
from tests.trainer.conftest import GRID
from trainer import evaluate, input, records

SHAPE = slice_shape(GRID.shape, "axial")


class Halves(tf.Module):
    """A model that sees lesion in the upper half of every slice."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def count(self, examples):
        truth = records.decode(examples, *SHAPE)["mask"] > 0.5
        seen = tf.range(SHAPE[0])[None, :, None] < SHAPE[0] // 2
        pairs = {"tp": truth & seen, "fp": ~truth & seen, "fn": truth & ~seen}
        return {name: tf.reduce_sum(tf.cast(pair, tf.int64), axis=[1, 2]) for name, pair in pairs.items()}


@pytest.mark.parametrize("batch", [5, 64])
def test_counts_of_a_fold(examples, tmp_path, monkeypatch, batch):
    model = Halves()
    tf.saved_model.save(model, str(tmp_path / "model"), signatures={"counts": model.count})
    make_card("axial", GRID).write(tmp_path / "model")
    monkeypatch.setattr(evaluate, "BATCH", batch)
    table = evaluate.slice_counts(tmp_path / "model", examples, 2, "halves")
    index = input.read_index(examples, [2])
    assert len(table) == len(index.rows) > 20
    assert len(table) % 5
    masks = records.decode(tf.constant(index.read(np.arange(len(table)))), *SHAPE)["mask"].numpy() > 0.5
    upper = masks[:, : SHAPE[0] // 2].sum(axis=(1, 2))
    half = SHAPE[0] // 2 * SHAPE[1]
    assert table["tp"].tolist() == upper.tolist()
    assert table["fp"].tolist() == (half - upper).tolist()
    assert (table["tp"] + table["fn"]).tolist() == table["lesion_voxels"].tolist()
    assert set(table["subject"]) == {"sub-c", "sub-d"}
    assert not table.duplicated(["subject", "slice"]).any()
    assert ((table["size_category"] > 0) == (table["lesion_voxels"] > 0)).all()
