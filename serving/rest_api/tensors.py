"""JSON values to tensors: shapes, dtypes and base64, with TensorFlow Serving's rules and messages.

What each dtype accepts: docs/spec/tensorflow_serving.md#values-by-dtype.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np
import pybase64

from serving.rest_api.errors import RestError, invalid
from serving.rest_api.parsing import excerpt, format_error
from serving.rest_api.signature import TensorInfo

B64 = "b64"
MOST_DIMENSIONS = 32  # NumPy's; TensorFlow has 254
_FLOATS = {"DT_FLOAT": np.float32, "DT_DOUBLE": np.float64}
_INTEGERS: dict[str, Any] = {
    "DT_INT8": np.int8,
    "DT_INT16": np.int16,
    "DT_INT32": np.int32,
    "DT_INT64": np.int64,
    "DT_UINT8": np.uint8,
    "DT_UINT32": np.uint32,
    "DT_UINT64": np.uint64,
}


def dense(value: Any, info: TensorInfo) -> tuple[tuple[int, ...], list[Any]]:
    """Shape, by the first elements, and all values in row-major order."""
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        if not first:
            break
        first = first[0]
    values: list[Any] = []
    _fill(value, 0, tuple(shape), info, values)
    return tuple(shape), values


def _fill(value: Any, level: int, shape: tuple[int, ...], info: TensorInfo, values: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {excerpt(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        values.append(_scalar(value, info))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    if info.dtype in _FLOATS and level == len(shape) - 1 and set(map(type, value)) <= {int, float}:
        values += value  # the many numbers of an image, at once
        return
    for item in value:
        _fill(item, level + 1, shape, info, values)


def _scalar(value: Any, info: TensorInfo) -> Any:
    """The value, if the dtype takes it."""
    dtype = info.dtype
    if dtype == "DT_STRING" and isinstance(value, (str, dict)):
        return _string(value)
    if dtype in _FLOATS:
        good = type(value) in (int, float)
    elif dtype in _INTEGERS:
        limits = np.iinfo(_INTEGERS[dtype])
        good = type(value) is int and limits.min <= value <= limits.max
    elif dtype in ("DT_BOOL", "DT_STRING"):
        good = dtype == "DT_BOOL" and type(value) is bool
    else:
        text = f"Conversion of JSON Value: {excerpt(value)} to type: {info.kind}"
        raise RestError("UNIMPLEMENTED", text)
    if not good:
        raise format_error(value, f"Type: {_type_name(value)} is not of expected type: {info.kind}")
    return value


def _string(value: str | dict[str, Any]) -> bytes:
    if isinstance(value, dict):
        if not is_base64(value):
            raise format_error(value, "not formatted correctly for base64 data")
        return from_base64(value[B64])
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from None


def from_base64(text: str) -> bytes:
    """Standard alphabet; white space inside and missing padding are accepted."""
    with suppress(ValueError):  # as it nearly always comes
        return pybase64.b64decode(text, validate=True)
    packed = "".join(text.split())
    bare = packed.rstrip("=")
    try:
        if len(packed) != len(bare) and len(packed) % 4:
            raise ValueError
        return pybase64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except ValueError:
        raise invalid("Unable to base64 decode") from None


def array(alias: str, values: list[Any], shape: tuple[int, ...], info: TensorInfo) -> np.ndarray:
    """The tensor of what `dense` found. Raises RestError where its dtype or rank cannot be had."""
    if len(shape) > MOST_DIMENSIONS:
        raise invalid(f"tensor parsing error: {alias}")
    if info.dtype == "DT_STRING":
        array = np.empty(math.prod(shape), object)
        array[:] = values
        return array.reshape(shape)
    kinds: dict[str, Any] = {**_FLOATS, **_INTEGERS, "DT_BOOL": np.bool_}
    if info.dtype not in kinds:  # a list without a value in it
        raise RestError("UNIMPLEMENTED", f"Conversion of JSON Value: [] to type: {info.kind}")
    with np.errstate(over="ignore"):  # 1e39 is infinite as a float
        wide = np.array(values, np.float64) if info.dtype in _FLOATS else np.array(values, kinds[info.dtype])
        return wide.astype(kinds[info.dtype], copy=False).reshape(shape)


def is_base64(value: Any) -> bool:
    """Whether it is {"b64": "..."} and nothing else."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(B64), str)


def _type_name(value: Any) -> str:
    if isinstance(value, bool):
        return "True" if value else "False"
    names = {type(None): "Null", dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")
