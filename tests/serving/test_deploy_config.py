"""The files in deploy/tf_serving are what TensorFlow Serving reads, and say what our models need."""

import re
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from lesions.slices import PLANES
from serving.metrics import PATH
from serving.predictor import SLICES_PER_CALL

FOLDER = Path(__file__).parents[2] / "deploy" / "tf_serving"


def text_of(name):
    return (FOLDER / name).read_text()


def number(text, name):
    return int(re.search(rf"^{name} {{ value: (\d+) }}$", text, re.MULTILINE)[1])


def test_every_plane_is_configured_from_its_own_folder():
    config = text_format.Parse(text_of("models.config"), model_server_config_pb2.ModelServerConfig())
    models = {one.name: one for one in config.model_config_list.config}
    assert set(models) == set(PLANES)
    for plane, one in models.items():
        assert (one.base_path, one.model_platform) == (f"/models/{plane}", "tensorflow")


def test_batches_are_cut_to_what_a_client_sends():
    text = text_of("batching.config")
    assert number(text, "max_execution_batch_size") == SLICES_PER_CALL
    assert number(text, "max_batch_size") >= SLICES_PER_CALL
    assert "enable_large_batch_splitting { value: true }" in text


def test_metrics_are_where_the_embedded_server_has_them():
    assert f'path: "{PATH}"' in text_of("monitoring.config")
