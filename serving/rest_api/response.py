"""Tensors to the answer of a predict request, numbers as TensorFlow Serving writes them.

The forms: docs/spec/tensorflow_serving.md#predict-response.
"""

from __future__ import annotations

import json
import math

import numpy as np
import pybase64

from serving.rest_api.errors import invalid

_KINDS = {  # what can be written
    "DT_FLOAT",
    "DT_DOUBLE",
    "DT_INT8",
    "DT_INT16",
    "DT_INT32",
    "DT_INT64",
    "DT_UINT8",
    "DT_UINT32",
    "DT_UINT64",
    "DT_BOOL",
    "DT_STRING",
}
_DIGITS = {"DT_FLOAT": 9, "DT_DOUBLE": 17}
BYTES = "_bytes"  # outputs named so are written in base64


def write_predict(row: bool, dtypes: dict[str, str], outputs: dict[str, np.ndarray]) -> bytes:
    """Writes the answer.

    Args:
        row: True where the request came as `instances`.
        dtypes: TensorFlow's name of each output's dtype.
        outputs: The tensors, by output name.

    Returns:
        JSON; NaN, Infinity and -Infinity are written as such.

    Raises:
        RestError: A dtype cannot be written, or the outputs do not divide into rows.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    check_writable(dtypes)
    if row:
        rows = _rows(dtypes, outputs)
        text = '{\n    "predictions": [' + ", ".join(rows) + ("\n    ]\n}" if rows else "]\n}")
    else:
        whole = {name: _whole(name, dtypes[name], value) for name, value in outputs.items()}
        only = next(iter(whole.values())) if len(whole) == 1 else _object(whole)
        text = '{\n    "outputs": ' + only + "\n}"
    return text.encode("utf-8", "surrogateescape")


def check_writable(dtypes: dict[str, str]) -> None:
    """Raises RestError where JSON has no form for an output's dtype."""
    for dtype in dtypes.values():
        if dtype not in _KINDS:
            kind = dtype.removeprefix("DT_").lower()
            raise invalid(f"Failed to write JSON value for tensor type: {kind}")


def _rows(dtypes: dict[str, str], outputs: dict[str, np.ndarray]) -> list[str]:
    size = None
    for name, value in outputs.items():
        if value.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if size is not None and len(value) != size:
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(value)} expecting: {size}")
        size = len(value)
    columns = {name: _elements(name, dtypes[name], value) for name, value in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [_object(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _object(members: dict[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in members.items()) + "}"


def _whole(name: str, dtype: str, value: np.ndarray) -> str:
    (text,) = _elements(name, dtype, value[None])
    return text


def _elements(name: str, dtype: str, value: np.ndarray) -> list[str]:
    """One text for each element of the first dimension."""
    texts, shape = _scalars(name, dtype, value.reshape(-1)), value.shape
    for axis in range(value.ndim - 1, 0, -1):
        count, size = math.prod(shape[:axis]), shape[axis]
        texts = ["[" + ", ".join(texts[i * size : (i + 1) * size]) + "]" for i in range(count)]
    return texts


def _scalars(name: str, dtype: str, flat: np.ndarray) -> list[str]:
    if dtype in _DIGITS:
        return _decimals(flat, _DIGITS[dtype])
    if dtype == "DT_BOOL":
        return ["true" if value else "false" for value in flat]
    if dtype != "DT_STRING":
        return [str(value) for value in flat.tolist()]
    if name.endswith(BYTES):
        return ['{"b64": "' + pybase64.b64encode(value).decode() + '"}' for value in flat]
    return [json.dumps(v.decode("utf-8", "surrogateescape"), ensure_ascii=False) for v in flat]


def _decimals(flat: np.ndarray, digits: int) -> list[str]:
    """Six significant digits where they give the same number again, else 9 (float) or 17 (double)."""
    # Each value is written once, however often it occurs; told apart by bits, for the sign of 0.
    bits, places = np.unique(flat.view(f"u{flat.itemsize}"), return_inverse=True)
    values = bits.view(flat.dtype)
    short = [f"{value:.6g}" for value in values.tolist()]
    with np.errstate(over="ignore"):
        same = np.array(short, np.float64).astype(flat.dtype) == values
    texts = [
        _decimal(six if enough else f"{value:.{digits}g}")
        for six, enough, value in zip(short, same.tolist(), values.tolist(), strict=True)
    ]
    return [texts[place] for place in places.reshape(-1).tolist()]


def _decimal(text: str) -> str:
    special = {"nan": "NaN", "-nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    if text in special:
        return special[text]
    return text if "." in text or "e" in text else text + ".0"
