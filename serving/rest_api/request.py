"""The body of a predict request to tensors, with TensorFlow Serving's rules and messages.

The rules: docs/spec/tensorflow_serving.md#predict-request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.rest_api.errors import RestError, invalid
from serving.rest_api.parsing import excerpt, format_error, parse
from serving.rest_api.signature import Signature, TensorInfo, check_shape, shape_text
from serving.rest_api.tensors import array, dense, is_base64


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
    if not isinstance(given, dict) or is_base64(given):
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
        shape, values = dense(given[alias], info)
        tensors[alias] = array(alias, values, shape, info)
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
    return {a: array(a, c.values, (len(rows), *c.shape), infos[a]) for a, c in columns.items()}


class _Column:
    """One input, gathered row by row; all rows must be alike."""

    def __init__(self, info: TensorInfo):
        self.info, self.values = info, []  # type: TensorInfo, list[Any]
        self.shape: tuple[int, ...] = ()
        self.size: int | None = None

    def add(self, value: Any) -> None:
        shape, values = dense(value, self.info)
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


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)
