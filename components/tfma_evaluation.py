"""Figures as TFMA's own records, so that its viewer and `tfma.load_eval_result` open them.

TFMA would run the model itself, a second time; here its writer is given figures that were derived from stored counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf
from google.protobuf import json_format
from tensorflow_model_analysis import version
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.writers.metrics_plots_and_validations_writer import (
    convert_slice_metrics_to_proto,
)

SliceKey = tuple[tuple[str, str | int], ...]
COUNT = "example_count"  # what the viewer calls a slice's size


def write_evaluation(
    folder: Path,
    figures: Mapping[SliceKey, Mapping[str, float]],
    model: str,
    data: str,
) -> None:
    """Writes eval_config.json and one metrics record per slice of the data.

    Args:
        folder: Of the evaluation; made if missing.
        figures: By slice key, () for everything and for example (("plane", "axial"), ("fold", 1)): name -> value,
            among them `example_count`. NaN values are left out: TFMA has no word for a mean over nothing.
        model: Where the evaluated model lies, for display.
        data: Where the evaluated records lie, for display.
    """
    folder.mkdir(parents=True, exist_ok=True)
    keys: Sequence[tuple[str, ...]] = list(dict.fromkeys(tuple(n for n, _ in key) for key in figures))
    # Not by their names in `tensorflow_model_analysis` itself: 0.52 no longer has them there.
    config = config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec()],
        slicing_specs=[config_pb2.SlicingSpec(feature_keys=names) for names in keys],
        metrics_specs=[config_pb2.MetricsSpec(metrics=[config_pb2.MetricConfig(class_name="ExampleCount")])],
    )
    run = config_pb2.EvalRun(
        eval_config=config,
        version=version.VERSION,
        data_location=data,
        file_format="tfrecords",
        model_locations={"": model},
    )
    with tf.io.TFRecordWriter(str(folder / "metrics-00000-of-00001.tfrecord")) as writer:
        for key, values in figures.items():
            known = {
                metric_types.MetricKey(name=name): float(value)
                for name, value in values.items()
                if value == value  # not NaN
            }
            writer.write(convert_slice_metrics_to_proto((key, known), None).SerializeToString())
    (folder / "eval_config.json").write_text(json_format.MessageToJson(run))
