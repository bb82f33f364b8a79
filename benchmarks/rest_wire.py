"""What a plane costs on its way through REST, packed and as nested JSON: python benchmarks/rest_wire.py.

Slices are written into requests of 16, read by the model server, probabilities written into its answers, and read
again, all by the code of the client and the server; no network and no TensorFlow. Nested JSON is what a user of
`requests` sends: `json.dumps(slices.tolist())`. The slices are a phantom's, so figures are phantom figures. Processor
time counts, of which other work on the machine takes nothing away.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from lesions.phantom.subject import make_subject
from lesions.slices import cut
from serving.predictor import SLICES_PER_CALL
from serving.rest_api.request import parse_predict
from serving.rest_api.response import write_predict
from serving.rest_api.signature import Signature, TensorInfo
from serving.rest_client import pack, unpack


def packed(slices: np.ndarray, probabilities: np.ndarray) -> tuple[int, np.ndarray]:
    """(bytes both ways, what the client read) of one request through the signature `slices_bytes`."""
    rows = [{"b64": text} for text in pack(slices)]
    request = json.dumps({"signature_name": "slices_bytes", "instances": rows}).encode()
    signature = Signature({"slices_bytes": TensorInfo("DT_STRING", (-1,))}, {})
    parse_predict(request, lambda name: signature)
    strings = np.array([one.tobytes() for one in probabilities], object)
    name = "probabilities_bytes"
    answer = write_predict(True, {name: "DT_STRING"}, {name: strings})
    return len(request) + len(answer), unpack(json.loads(answer)["predictions"], slices.shape[1:])


def nested(slices: np.ndarray, probabilities: np.ndarray) -> tuple[int, np.ndarray]:
    """The same through `serving_default`."""
    request = json.dumps({"instances": slices.tolist()}).encode()
    signature = Signature({"slices": TensorInfo("DT_FLOAT", (-1, *slices.shape[1:]))}, {})
    parse_predict(request, lambda name: signature)
    answer = write_predict(True, {"y": "DT_FLOAT"}, {"y": probabilities})
    return len(request) + len(answer), np.array(json.loads(answer)["predictions"], np.float32)


def measured(
    way: Callable[[np.ndarray, np.ndarray], tuple[int, np.ndarray]], slices: np.ndarray, answer: np.ndarray
) -> tuple[float, int]:
    """Seconds of processor time and bytes for all slices."""
    start, size = time.process_time(), 0
    for first in range(0, len(slices), SLICES_PER_CALL):
        part = slice(first, first + SLICES_PER_CALL)
        bytes_both_ways, found = way(slices[part], answer[part])
        np.testing.assert_array_equal(found, answer[part])
        size += bytes_both_ways
    return time.process_time() - start, size


def main() -> None:
    """Prints both ways and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spacing", type=float, default=1.0, help="of the phantom, mm (default: 1)")
    spacing = parser.parse_args().spacing
    scan = cut(make_subject(0, spacing=spacing)[0].data, "axial")
    slices = np.ascontiguousarray(scan, np.float32)
    # What a network answers: nothing outside the head, all sorts of digits inside.
    noise = np.random.default_rng(0).random(slices.shape, np.float32)
    answer = np.where(slices > 0, noise, 0).astype(np.float32)
    found = {}
    for name, way in (("packed", packed), ("nested", nested)):
        found[name] = min(measured(partial(way), slices, answer) for _ in range(2))
        seconds, size = found[name]
        print(
            f"{name}: {len(slices)} slices of {slices.shape[1:]}: {seconds:.2f} s, {size / 1e6:.0f} MB both ways"
        )
    ratio = [found["nested"][i] / found["packed"][i] for i in (0, 1)]
    print(f"packed takes 1/{ratio[0]:.0f} of the time and 1/{ratio[1]:.1f} of the bytes")


if __name__ == "__main__":
    main()
