"""The main rules of the REST API's texts, without the file of conformance cases."""

import base64
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serving.rest_api import DEVIATIONS, errors, parsing, urls
from serving.rest_api.errors import RestError
from serving.rest_api.request import parse_predict
from serving.rest_api.response import write_predict
from serving.rest_api.signature import Signature, TensorInfo

ROOT = Path(__file__).parents[3]
DTYPES = {
    "DT_FLOAT": "f4",
    "DT_DOUBLE": "f8",
    "DT_INT32": "i4",
    "DT_UINT8": "u1",
    "DT_INT64": "i8",
    "DT_BOOL": "?",
}
SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, max_side=4)


def signature(**dtypes):
    return Signature({name: TensorInfo(dtype, None) for name, dtype in sorted(dtypes.items())}, {})


def parse(body, **dtypes):
    text = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return parse_predict(text.encode() if isinstance(text, str) else text, lambda name: signature(**dtypes))


def outcome(function):
    """What a function returns, or the RestError that it raises."""
    try:
        return function()
    except RestError as error:
        return error


def tensors(dtype):
    return arrays.arrays(np.dtype(DTYPES[dtype]), SHAPES)


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@given(data=st.data())
def test_a_tensor_comes_back_from_both_forms_bit_by_bit(dtype, data):
    tensor = data.draw(tensors(dtype))
    for row, key in ((True, "predictions"), (False, "outputs")):
        text = write_predict(row, {"y": dtype}, {"y": tensor})
        again = json.dumps({"instances" if row else "inputs": json.loads(text)[key]})
        found = parse(again, x=dtype)
        assert found.row is row
        assert found.inputs["x"].dtype == tensor.dtype
        np.testing.assert_array_equal(found.inputs["x"], tensor)
        if tensor.dtype.kind == "f":
            sign = np.isfinite(tensor)
            np.testing.assert_array_equal(np.signbit(found.inputs["x"])[sign], np.signbit(tensor)[sign])


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
def test_bytes_come_back_from_base64(strings):
    value = np.empty(len(strings), object)
    value[:] = strings
    text = write_predict(True, {"y_bytes": "DT_STRING"}, {"y_bytes": value})
    rows = json.loads(text)["predictions"]
    assert [base64.b64decode(row["b64"]) for row in rows] == strings
    assert parse({"instances": rows}, x="DT_STRING").inputs["x"].tolist() == strings


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_six_digits_where_they_suffice_else_nine(value):
    text = write_predict(True, {"y": "DT_FLOAT"}, {"y": np.array([value], np.float32)}).decode()
    (token,) = json.loads(text, parse_float=str, parse_int=str)["predictions"]
    digits = token.split("e")[0].replace(".", "").replace("-", "").strip("0")
    assert np.float32(float(token)) == np.float32(value)
    assert len(digits) <= 9
    if np.float32(float(f"{value:.6g}")) == np.float32(value):
        assert len(digits) <= 6
    assert "." in token or "e" in token


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9e6, "9e+06"),
        (3e-5, "3e-05"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
    ],
)
def test_numbers_are_written_as_tensorflow_serving_does(value, text):
    written = write_predict(True, {"y": "DT_FLOAT"}, {"y": np.array([value], np.float32)}).decode()
    assert written == f'{{\n    "predictions": [{text}\n    ]\n}}'


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "JSON Parse error: The document is empty"),
        (" ", "JSON Parse error: The document is empty. at offset: 1"),
        ("[1]", "JSON Value: [1] Is not object"),
        ('{"instances":[1,]}', "JSON Parse error: Invalid value. at offset: 16"),
        ('{"instances":[1, \n]}', "JSON Parse error: Invalid value. at offset: 18"),
        ('{"instances":[1] , }', "JSON Parse error: Missing a name for object member. at offset: 19"),
        (
            '{"instances":[1] "a":2}',
            "JSON Parse error: Missing a comma or '}' after an object member. at offset: 17",
        ),
        (
            '{"instances":[1 2]}',
            "JSON Parse error: Missing a comma or ']' after an array element. at offset: 16",
        ),
        ('{"a" 1}', "JSON Parse error: Missing a colon after a name of object member. at offset: 5"),
        ('{"instances":["a]}', "JSON Parse error: Missing a closing quotation mark in string. at offset: 18"),
        ('{"instances":[1e400]}', "JSON Parse error: Number too big to be stored in double. at offset: 14"),
        ('{"signature_name":null,"instances":[1]}', "'signature_name' key must be a string value."),
        ('{"instances":[1],"inputs":[1]}', "Not formatted correctly expecting only one of"),
        ('{"instances":[]}', "No values in 'instances' array"),
        ('{"a":1}', "Missing 'inputs' or 'instances' key"),
        ('{"instances":[[1],[1,2]]}', "Expecting tensor size: 1 but got: 2"),
        ('{"instances":[1,[1]]}', "Expecting shape [] but got: [1]"),
        (
            '{"inputs":[[1],2]}',
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        ('{"inputs":[1,[2]]}', "Encountered list at unexpected level: 1 expected < 1"),
        ('{"instances":[true]}', "JSON Value: true Type: True is not of expected type: float"),
        ('{"instances":[{"x":1},2]}', "Expecting object but got list at item 1 of input list"),
        ('{"instances":[1,{"x":1}]}', "Expecting value/list but got object at item 1 of input list"),
        ('{"inputs":{"z":1}}', "Missing named input: x in 'inputs' object."),
    ],
)
def test_what_is_wrong_is_said_in_tensorflow_serving_s_words(body, message):
    with pytest.raises(RestError) as found:
        parse(body, x="DT_FLOAT")
    assert (found.value.code, found.value.status) == ("INVALID_ARGUMENT", 400)
    assert message in found.value.message


def test_what_is_lenient():
    assert parse('\ufeff{"x":{},"instances":[1],"instances":["a"]}', x="DT_FLOAT").inputs["x"] == [1]
    deep = '{"deep":' + "[" * 100_000 + "]" * 100_000 + ',"instances":[2]}'
    assert parse(deep, x="DT_FLOAT").inputs["x"] == [2]
    loose = parse({"instances": [{"b64": "aGVs\n bG8"}]}, x="DT_STRING")
    assert loose.inputs["x"].tolist() == [b"hello"]
    assert parse({"inputs": []}, x="DT_FLOAT").inputs["x"].shape == (0,)


@pytest.mark.parametrize("text", ["a-_b", "aGVsbG8==", "a", "aGVsbG8=aGVsbG8="])
def test_what_is_no_base64(text):
    with pytest.raises(RestError, match="Unable to base64 decode"):
        parse({"instances": [{"b64": text}]}, x="DT_STRING")


def test_half_is_unimplemented_in_columns_and_wrapped_in_rows():
    with pytest.raises(RestError) as found:
        parse({"inputs": [1]}, x="DT_HALF")
    assert (found.value.status, found.value.message) == (501, "Conversion of JSON Value: 1 to type: half")
    with pytest.raises(RestError, match="Error: UNIMPLEMENTED: Conversion") as found:
        parse({"instances": [1]}, x="DT_HALF")
    assert found.value.status == 400


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=20,
    )
)
def test_whatever_is_asked_is_a_tensor_or_an_error_of_ours(value):
    for body in ({"instances": value}, {"inputs": value}, {"instances": [value, value]}, value):
        for dtype in ("DT_FLOAT", "DT_STRING", "DT_UINT8"):
            found = outcome(lambda body=body, dtype=dtype: parse(body, x=dtype))
            if isinstance(found, RestError):
                assert found.status in (400, 501)
                assert json.loads(errors.body(found.message))["error"] == found.message
            else:
                assert isinstance(found.inputs["x"], np.ndarray)


@given(
    st.binary(max_size=60)
    | st.text(alphabet='{}[]",:0123456789.eE+-nulltrfasINiy ', max_size=60).map(str.encode)
)
def test_any_body_is_read_or_refused(body):
    found = outcome(lambda: parsing.parse(body))
    assert isinstance(found, dict) or found.status == 400


def test_a_quotation_in_an_error_is_short():
    with pytest.raises(RestError) as found:
        parse({"instances": {"a": [1.0] * 100_000}}, x="DT_FLOAT")
    assert len(found.value.message) < 400


@pytest.mark.parametrize("error", [RestError("NOT_FOUND", "x"), RestError("RESOURCE_EXHAUSTED", "y", 413)])
def test_an_error_crosses_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert (again.code, again.message, again.status) == (error.code, error.message, error.status)


@pytest.mark.parametrize("version", ["9223372036854775808", "9" * 5000])
def test_a_version_beyond_64_bits(version):
    with pytest.raises(RestError, match="Failed to convert version"):
        urls.parse("GET", f"/v1/models/m/versions/{version}")
    assert urls.parse("GET", "/v1/models/m/versions/" + "0" * 50 + "7").version == 7


def test_every_deviation_is_on_the_page():
    page = " ".join((ROOT / "docs/serving.md").read_text().split())
    for name, text in DEVIATIONS.items():
        assert f"**{name}**" in page
        assert text in page
