"""Warm-up requests inside a model: TF Serving runs them before it opens a version.

The file's form: docs/spec/tensorflow_serving.md#warm-up-requests.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from lesions.grid import Volume, resample
from lesions.phantom.subject import make_subject
from lesions.provenance import ModelCard
from lesions.slices import cut, stacks

FILE = "assets.extra/tf_serving_warmup_requests"
SLICES = 16  # what a client sends at a time
COARSE = 6.0  # mm; any head will do


def write(folder: Path, card: ModelCard) -> None:
    """Writes two requests of phantom slices, never a subject's: one slice as floats, `SLICES` packed.

    Args:
        folder: The SavedModel.
        card: Its card, for the size of its slices.
    """
    slices = phantom_slices(card)
    path = folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(_request("serving_default", "slices", slices[:1]))
        writer.write(
            _request("slices_bytes", "slices_bytes", [one.astype("<f4").tobytes() for one in slices])
        )


def phantom_slices(card: ModelCard) -> np.ndarray:
    """`SLICES` slices, or stacks of them, float32, from the middle of a phantom, as the model is asked with them."""
    depth = cut(resample(_phantom(), card.grid).data, card.plane)
    first = max((len(depth) - SLICES) // 2, 0)
    rows = np.arange(first, first + SLICES) % len(depth)
    return stacks(depth, rows, card.context).reshape(SLICES, *card.asked_with).astype(np.float32)


@lru_cache(maxsize=1)
def _phantom() -> Volume:
    return make_subject(0, spacing=COARSE)[0]


def _request(signature: str, name: str, value: np.ndarray | list[bytes]) -> bytes:
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return log.SerializeToString(deterministic=True)
