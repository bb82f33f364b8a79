"""TensorFlow Serving's own behavior as data (tests/data/README.md): every case, or a deviation."""

import json

import numpy as np
import pytest

from serving.rest_api import DEVIATIONS, errors, request, response, tensors, urls
from serving.rest_api.errors import RestError
from serving.rest_api.signature import Signature, TensorInfo
from tests.conftest import DATA

CASES = json.loads((DATA / "tfserving_rest_conformance.json").read_text())
DEVIATING = {  # case: which entry of DEVIATIONS
    "DT_UINT8 row [256, -1]": "integer range",
    "DT_INT16 row [40000]": "integer range",
    "float32 row: short Inf spellings": "spellings",
}


def of(section):
    return pytest.mark.parametrize("case", CASES[section], ids=lambda case: case["name"])


def body_of(case):
    if case["request_body"] is not None:
        return case["request_body"].encode()
    parts = (part if isinstance(part, str) else part[0] * part[1] for part in case["request_body_parts"])
    return "".join(parts).encode()


def value_of(value):
    """A value as the file writes it: non-finite numbers and raw bytes have forms of their own."""
    if isinstance(value, dict):
        return tensors.from_base64(value["b64"])
    return value.encode() if isinstance(value, str) else value


def kind_of(dtype):
    other = {"DT_FLOAT": np.float32, "DT_DOUBLE": np.float64, "DT_HALF": np.float16}
    return np.dtype(other.get(dtype) or dtype.removeprefix("DT_").lower())


def numbers(values):
    return [float(value) if isinstance(value, str) else value for value in values]


def refused(expected, error):
    assert error.code == expected.get("code", "INVALID_ARGUMENT")
    assert error.status == expected.get("http_status", 400)
    assert expected.get("error_contains", "") in error.message


@of("request_parse")
def test_request(case):
    infos = {name: TensorInfo(info["dtype"], None) for name, info in sorted(case["signature_inputs"].items())}
    deviation, expected = DEVIATING.get(case["name"]), case["expected"]
    if deviation or not expected["ok"]:
        with pytest.raises(RestError) as found:
            request.parse_predict(body_of(case), lambda name: Signature(infos, {}))
        if deviation:
            assert DEVIATIONS[deviation]
            assert found.value.status == 400
            return
        refused(expected, found.value)
        messages = [expected.get(k) for k in ("message", "message_2_16_1")]
        messages += [case.get("message_master"), case.get("expected_master", {}).get("message")]
        if any(messages):
            assert found.value.message in messages
        return
    got = request.parse_predict(body_of(case), lambda name: Signature(infos, {}))
    assert got.signature_name == expected["signature_name"]
    assert got.row is (expected["format"] == "row")
    assert set(got.inputs) == set(expected["inputs"])
    for name, tensor in expected["inputs"].items():
        array = got.inputs[name]
        assert list(array.shape) == tensor["shape"]
        if tensor["dtype"] == "DT_STRING":
            assert array.ravel().tolist() == [value_of(value) for value in tensor["values"]]
        else:
            assert array.dtype == kind_of(tensor["dtype"])
            wanted = np.array(numbers(tensor["values"]), array.dtype)
            np.testing.assert_array_equal(array.ravel(), wanted)
            np.testing.assert_array_equal(
                np.signbit(array.ravel().astype(float)), np.signbit(wanted.astype(float))
            )


def tensor_of(tensor):
    if tensor["dtype"] == "DT_STRING":
        array = np.empty(len(tensor["values"]), object)
        array[:] = [value_of(value) for value in tensor["values"]]
    else:
        array = np.array(numbers(tensor["values"]), kind_of(tensor["dtype"]))
    return array.reshape(tensor["shape"])


def with_numbers_as_text(text):
    keep = {"parse_float": str, "parse_int": str, "parse_constant": str}
    return json.loads(text, **keep)


@of("response_encode")
def test_response(case):
    dtypes = {name: tensor["dtype"] for name, tensor in case["tensors"].items()}
    tensors = {name: tensor_of(tensor) for name, tensor in case["tensors"].items()}
    expected, row = case["expected"], case["format"] == "row"
    if not expected["ok"]:
        with pytest.raises(RestError) as found:
            response.write_predict(row, dtypes, tensors)
        refused(expected, found.value)
        return
    text = response.write_predict(row, dtypes, tensors).decode()
    assert with_numbers_as_text(text) == with_numbers_as_text(expected["json"])


@of("url_parse")
def test_url(case):
    expected = case["expected"]
    if not expected["matched"] or "error_contains" in expected:
        with pytest.raises(RestError) as found:
            urls.parse(case["method"], case["path"])
        refused(expected, found.value)
        assert (
            expected["matched"]
            or found.value.message == f"Malformed request: {case['method']} {case['path']}"
        )
        return
    target = urls.parse(case["method"], case["path"])
    assert target.model == expected["model_name"]
    assert (target.version, target.label) == (expected.get("version"), expected.get("label"))
    assert target.verb == expected.get("verb", "")
    assert target.metadata is (expected.get("subresource") == "metadata")


@of("error_body")
def test_error_body(case):
    assert errors.body(case["message"]).decode() == case["expected"]["exact_bytes_2_16_1"]
