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
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from lesions.phantom.subject import make_subject
from lesions.slices import cut
from serving import packing
from serving.predictor import SLICES_PER_CALL
from serving.rest_api.request import parse_predict
from serving.rest_api.response import write_predict
from serving.rest_api.signature import Signature, TensorInfo


class Clock:
    """Adds up processor time of the client and of the server."""

    def __init__(self) -> None:
        self.seconds = {"client": 0.0, "server": 0.0}

    @contextmanager
    def __call__(self, who: str) -> Iterator[None]:
        """Adds what is done within."""
        start = time.process_time()
        yield
        self.seconds[who] += time.process_time() - start


def packed(slices: np.ndarray, probabilities: np.ndarray, clock: Clock) -> tuple[int, np.ndarray]:
    """(bytes both ways, what the client read) of one request through the signature `slices_bytes`."""
    with clock("client"):
        request = packing.request(slices)
    signature = Signature({packing.SIGNATURE: TensorInfo("DT_STRING", (-1,))}, {})
    name = "probabilities_bytes"
    with clock("server"):
        parse_predict(request, lambda name: signature)
        strings = np.array([one.tobytes() for one in probabilities], object)
        answer = write_predict(True, {name: "DT_STRING"}, {name: strings})
    with clock("client"):
        found = packing.unpack(json.loads(answer)["predictions"], slices.shape[1:])
    return len(request) + len(answer), found


def nested(slices: np.ndarray, probabilities: np.ndarray, clock: Clock) -> tuple[int, np.ndarray]:
    """The same through `serving_default`."""
    with clock("client"):
        request = json.dumps({"instances": slices.tolist()}).encode()
    signature = Signature({"slices": TensorInfo("DT_FLOAT", (-1, *slices.shape[1:]))}, {})
    with clock("server"):
        parse_predict(request, lambda name: signature)
        answer = write_predict(True, {"y": "DT_FLOAT"}, {"y": probabilities})
    with clock("client"):
        found = np.array(json.loads(answer)["predictions"], np.float32)
    return len(request) + len(answer), found


def measured(
    way: Callable[[np.ndarray, np.ndarray, Clock], tuple[int, np.ndarray]],
    slices: np.ndarray,
    answer: np.ndarray,
) -> dict[str, float]:
    """Seconds of the client and the server, and megabytes, for all slices; the quickest of two times."""
    rounds = []
    for _ in range(2):
        clock, size = Clock(), 0
        for first in range(0, len(slices), SLICES_PER_CALL):
            part = slice(first, first + SLICES_PER_CALL)
            bytes_both_ways, found = way(slices[part], answer[part], clock)
            np.testing.assert_array_equal(found, answer[part])
            size += bytes_both_ways
        rounds.append(clock.seconds | {"MB": size / 1e6})
    return {name: min(one[name] for one in rounds) for name in rounds[0]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spacing", type=float, default=1.0, help="of the phantom, mm (default: 1)")
    compare(parser.parse_args().spacing)


def compare(spacing: float) -> None:
    """Prints both ways and their ratio."""
    scan = cut(make_subject(0, spacing=spacing)[0].data, "axial")
    slices = np.ascontiguousarray(scan, np.float32)
    # What a network answers: nothing outside the head, all sorts of digits inside.
    noise = np.random.default_rng(0).random(slices.shape, np.float32)
    answer = np.where(slices > 0, noise, 0).astype(np.float32)
    print(f"{len(slices)} slices of {slices.shape[1:]}, both ways, seconds of processor time")
    found = {}
    for name, way in (("packed", packed), ("nested", nested)):
        one = found[name] = measured(way, slices, answer)
        print(f"{name}: client {one['client']:.2f} s, server {one['server']:.2f} s, {one['MB']:.0f} MB")
    ratios = {name: found["nested"][name] / found["packed"][name] for name in found["packed"]}
    print(
        f"nested is {ratios['client']:.0f} times packed for the client, {ratios['server']:.0f} for the server, "
        f"and {ratios['MB']:.1f} times its bytes"
    )


if __name__ == "__main__":
    main()
