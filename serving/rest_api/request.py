"""The body of a predict request to tensors (serving.md, 2.2), with TensorFlow Serving's rules and messages."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pybase64

from serving.rest_api.errors import RestError, invalid
from serving.rest_api.parsing import excerpt, format_error, parse
from serving.rest_api.signature import Signature, TensorInfo, check_shape, shape_text

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


@dataclass(frozen=True, eq=False)
class PredictRequest:
    """What a body asks.

    Attributes:
        signature_name: As it was written; "" stands for the default.
        row: True for `instances`, False for `inputs`.
        inputs: Tensors by input name; strings as arrays of bytes objects.
    """

    signature_name: str
    row: bool
    inputs: dict[str, np.ndarray]


def parse_predict(body: bytes, signature_of: Callable[[str], Signature]) -> PredictRequest:
    """Reads a predict request.

    Args:
        body: JSON.
        signature_of: Gives a signature by its name ("" for the default), or raises.

    Raises:
        RestError: It cannot be read, or does not fit the signature.
    """
    document = parse(body)
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise format_error(document, "not formatted correctly. 'signature_name' key must be a string value.")
    infos = signature_of(name).inputs
    if not infos:
        raise invalid(f"Failed to get input map for signature: {name or 'DEFAULT'}")
    row = "instances" in document
    if row and "inputs" in document:
        one_only = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        raise format_error(document, one_only)
    if not row and "inputs" not in document:
        raise invalid("Missing 'inputs' or 'instances' key")
    inputs = _from_rows(document, infos) if row else _from_columns(document["inputs"], infos)
    for alias, value in inputs.items():
        check_shape(alias, value.shape, infos[alias])
    return PredictRequest(name, row, inputs)


def _from_columns(given: Any, infos: dict[str, TensorInfo]) -> dict[str, np.ndarray]:
    if not isinstance(given, dict) or _is_base64(given):
        if len(infos) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required "
                "as per tensorinfo_map"
            )
        given = {next(iter(infos)): given}
    tensors = {}
    for alias, info in infos.items():
        if alias not in given:
            raise invalid(f"Missing named input: {alias} in 'inputs' object.")
        shape, values = _dense(given[alias], info)
        tensors[alias] = _array(alias, values, shape, info)
    return tensors


def _from_rows(document: dict[str, Any], infos: dict[str, TensorInfo]) -> dict[str, np.ndarray]:
    rows = document["instances"]
    if not isinstance(rows, list):
        raise format_error(document, "Expecting 'instances' to be an list/array")
    if not rows:
        raise format_error(document, "No values in 'instances' array")
    if not isinstance(rows[0], dict) and len(infos) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required "
            "as per tensorinfo_map"
        )
    columns = {alias: _Column(info) for alias, info in infos.items()}
    named = _is_named(rows[0])
    for index, row in enumerate(rows):
        if named != _is_named(row):
            found = "object but got list" if named else "value/list but got object"
            raise invalid(f"Expecting {found} at item {index} of input list")
        if named:
            _add_named(columns, index, row)
        else:
            _add(next(iter(columns.values())), row, f"element: {index}")
    return {a: _array(a, c.values, (len(rows), *c.shape), infos[a]) for a, c in columns.items()}


class _Column:
    """One input, gathered row by row; all rows must be alike."""

    def __init__(self, info: TensorInfo):
        self.info, self.values = info, []  # type: TensorInfo, list[Any]
        self.shape: tuple[int, ...] = ()
        self.size: int | None = None

    def add(self, value: Any) -> None:
        shape, values = _dense(value, self.info)
        if self.size is None:
            self.shape, self.size = shape, len(values)
        elif len(values) != self.size:
            raise invalid(f"Expecting tensor size: {self.size} but got: {len(values)}")
        elif shape != self.shape:
            raise invalid(f"Expecting shape {shape_text(self.shape)} but got: {shape_text(shape)}")
        self.values += values


def _add_named(columns: dict[str, _Column], index: int, row: dict[str, Any]) -> None:
    for alias, value in row.items():
        if alias not in columns:
            raise invalid(
                f"Failed to process element: {index} key: {alias} of 'instances' list. "
                f"Error: INVALID_ARGUMENT: JSON object: does not have named input: {alias}"
            )
        _add(columns[alias], value, f"element: {index} key: {alias}")
    if len(row) != len(columns):
        raise invalid(
            f"Failed to process element: {index} of 'instances' list. JSON object: {excerpt(row)} "
            f"keys must be equal to: {','.join(columns)}"
        )


def _add(column: _Column, value: Any, where: str) -> None:
    try:
        column.add(value)
    except RestError as error:
        text = f"Failed to process {where} of 'instances' list. Error: {error.code}: {error.message}"
        raise invalid(text) from None


def _dense(value: Any, info: TensorInfo) -> tuple[tuple[int, ...], list[Any]]:
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
        if not _is_base64(value):
            raise format_error(value, "not formatted correctly for base64 data")
        return _from_base64(value[B64])
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from None


def _from_base64(text: str) -> bytes:
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


def _array(alias: str, values: list[Any], shape: tuple[int, ...], info: TensorInfo) -> np.ndarray:
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


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(B64), str)


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _type_name(value: Any) -> str:
    if isinstance(value, bool):
        return "True" if value else "False"
    names = {type(None): "Null", dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")
