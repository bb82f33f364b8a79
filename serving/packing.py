"""Slices on the wire: each as float32 in base64, for the signature `slices_bytes`.

The contract: docs/spec/tensorflow_serving.md#model-contract.
What it spares: docs/spec/tensorflow_serving.md#transport-cost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pybase64

SIGNATURE = "slices_bytes"
_HEAD = b'{"signature_name": "' + SIGNATURE.encode() + b'", "instances": [{"b64": "'


def request(slices: np.ndarray) -> bytes:
    """The body of a predict request with (n, ...) float32 slices, one instance each: little-endian, row-major."""
    # Written as bytes: base64 has nothing that JSON would escape, and a serializer looks at every character.
    packed = [pybase64.b64encode(np.ascontiguousarray(one, "<f4").data) for one in slices]
    return _HEAD + b'"}, {"b64": "'.join(packed) + b'"}]}'


def unpack(rows: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The (n, *shape) float32 of an answer's rows. Raises ValueError, KeyError or TypeError where they are not that."""
    answer = np.empty((len(rows), *shape), np.float32)
    for place, row in zip(answer, rows, strict=True):
        packed = pybase64.b64decode_as_bytearray(row["b64"], validate=True)
        place[...] = np.frombuffer(packed, "<f4").reshape(shape)
    return answer
