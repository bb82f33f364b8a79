"""Mutated predict requests, and a model server in this process over models that only say yes."""

import asyncio
import contextlib
import copy
import gzip
import json
import random

import httpx
import numpy as np

from serving.http_guard import Guard
from serving.model_server import ModelServer
from serving.rest_api.signature import Signature, TensorInfo
from serving.versions import ModelStore, Version

WORDS = ("", "ü", "\ud800", "\0", "NaN", "b64", "instances", "x" * 300)
NUMBERS = (
    0,
    -1,
    1.5,
    -0.0,
    1e39,
    1e308,
    2**31,
    2**63,
    2**64,
    -(2**63) - 1,
    10**400,
    float("nan"),
    float("-inf"),
)
EMPTY = (
    [],
    {},
    [[]],
    [{}],
    {"b64": "!"},
    {"b64": "AA"},
    {"b64": 1},
    {"b64": "AA==", "c": 1},
    None,
    True,
    False,
)
TEXTS = (
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b'"',
    b"\\",
    b"\xff",
    b"\0",
    b"1e400",
    b"nan",
    b"//",
    b"\\ud800",
    b" ",
)
PATHS = ("/versions/7", "/versions/8", "/versions/99999999999999999999", "/labels/x", "%2F", "?a=b", "/")
ROWS = [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[0, -1]] * 3]
BASES = (
    {"instances": ROWS},
    {"inputs": {"slices": ROWS}},
    {"signature_name": "packed", "instances": [{"b64": "AAAA"}, {"b64": "/w=="}]},
    {"signature_name": "packed", "instances": [{"slices_bytes": {"b64": "/w=="}}]},
    {"signature_name": "words", "inputs": ["plain", {"b64": "/w=="}]},
    {"signature_name": "two", "instances": [{"a": 1, "b": 2.5}, {"a": -3, "b": 0}]},
    {"signature_name": "two", "inputs": {"a": [1, 2], "b": [3, 4]}},
    {"signature_name": "integers", "instances": [0, 255, 7]},
    {"signature_name": "scalar", "inputs": [1, 2, 3]},
)
_SLICES = TensorInfo("DT_FLOAT", (-1, 3, 2))
_STRINGS, _FLOATS = TensorInfo("DT_STRING", (-1,)), TensorInfo("DT_FLOAT", (-1,))
SIGNATURES = {
    "serving_default": Signature({"slices": _SLICES}, {"probabilities": _SLICES}),
    "packed": Signature({"slices_bytes": _STRINGS}, {"probabilities_bytes": _STRINGS}),
    "words": Signature({"words": _STRINGS}, {"words": _STRINGS}),
    "two": Signature({"a": _FLOATS, "b": _FLOATS}, {"none": _FLOATS, "sum": _FLOATS}),
    "integers": Signature({"n": TensorInfo("DT_UINT8", (-1,))}, {"n": TensorInfo("DT_UINT8", (-1,))}),
    "scalar": Signature({"x": _FLOATS}, {"y": TensorInfo("DT_FLOAT", ())}),
}


def mutated(rng):
    """(path, body, headers) of a predict request with a few things changed, in its structure, its bytes or both."""
    document = copy.deepcopy(rng.choice(BASES))
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        document = _changed(rng, document)
    body = _written(rng, document)
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        body = _bitten(rng, body)
    path, headers = "/v1/models/zoo", {}
    if rng.random() < 0.05:
        path += rng.choice(PATHS)
    if rng.random() < 0.1:
        headers["Content-Encoding"] = rng.choice(("gzip", "x-gzip", "GZIP", "deflate", "gzip, gzip"))
        packed = bytearray(gzip.compress(body, 1))
        if rng.random() < 0.5:
            packed[rng.randrange(len(packed))] ^= 1 << rng.randrange(8)
        body = bytes(packed[: rng.randrange(len(packed))] if rng.random() < 0.3 else packed)
    return path + ":predict", body, headers


def _changed(rng, document):
    """The document with one of its values exchanged, wrapped, doubled or gone."""
    places = []
    holder = {"root": document}
    _gather(holder, "root", places)
    container, key = rng.choice(places)
    kind = rng.random()
    if kind < 0.4:
        container[key] = copy.deepcopy(rng.choice((*WORDS, *NUMBERS, *EMPTY)))
    elif kind < 0.55:
        for _ in range(rng.choice((1, 1, 2, 33, 255))):
            container[key] = [container[key]]
    elif kind < 0.7:
        container[key] = {rng.choice(("b64", "slices", "a", "", "inputs", "signature_name")): container[key]}
    elif kind < 0.85 and container is not holder:
        if isinstance(container, list):
            container.insert(rng.randrange(len(container) + 1), container[key])
        else:
            container[rng.choice(("inputs", "instances", "a", "x"))] = container[key]
    elif container is not holder:
        del container[key]
    return holder["root"]


def _gather(container, key, places):
    """All places (container, key or index) in a document."""
    places.append((container, key))
    value = container[key]
    for inner in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        if len(places) < 200:
            _gather(value, inner, places)


def _written(rng, document):
    text = json.dumps(document, ensure_ascii=rng.random() < 0.5)
    kind = rng.random()
    if kind < 0.03:
        return text.encode("utf-16", "surrogatepass")
    if kind < 0.06:
        return b"\xef\xbb\xbf" + text.encode("utf-8", "surrogatepass")
    if kind < 0.08:
        depth = rng.choice((100, 1_000, 10_000, 100_000))
        opened = rng.choice(("[", '{"a":', '[{"b64":'))
        deep = opened * depth
        return ('{"instances":' + deep + rng.choice(("", "1" + "]" * depth))).encode()
    return text.encode("utf-8", "surrogatepass")


def _bitten(rng, body):
    """The body with bytes turned, cut off, put in or repeated."""
    place, kind = rng.randrange(len(body) + 1), rng.random()
    if kind < 0.3:
        return body[:place] + rng.choice(TEXTS) + body[place:]
    if kind < 0.5:
        return body[:place]
    if kind < 0.7:
        return body[:place] + body[place + rng.randrange(1, 5) :]
    if kind < 0.85:
        return body[:place] + rng.randbytes(rng.randrange(1, 5)) + body[place:]
    return body[:place] + body[max(0, place - 20) :]


class _Yes:
    """Answers with what it is asked, as a process with the zoo would, without a process."""

    restarts, up = 0, True

    async def predict(self, name, version, signature, inputs):
        values = list(inputs.values())
        if signature == "scalar":
            return {"y": np.float32(values[0].sum())}
        if signature == "two" and len(values[0]) != len(values[1]):
            values = [one[: min(map(len, values))] for one in values]
        names = SIGNATURES[signature].outputs
        return dict.fromkeys(names, values[0])

    async def close(self):
        pass


@contextlib.asynccontextmanager
async def yes(folder):
    """A client of a model server of one model, `zoo`, in this process."""
    store = ModelStore(folder, _Yes())
    store.models["zoo"] = {7: Version(7, folder / "zoo/7", "AVAILABLE", signatures=SIGNATURES)}
    server = ModelServer(store, Guard(limit=1 << 20))
    transport = httpx.ASGITransport(server, raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            yield client
    finally:
        await server.close()


def complaint(answer):
    """What is wrong with an answer, None where it is as it should be: an object, or an error with its reason."""
    if answer.status_code == 200:
        content = json.loads(answer.content.decode("utf-8", "surrogateescape"))
        return None if set(content) & {"predictions", "outputs"} else content
    if answer.status_code not in (400, 404, 413, 501):
        return answer.status_code, answer.text
    error = answer.json()["error"]
    return None if isinstance(error, str) and 0 < len(error) < 4000 else error


def fuzz(folder, count, seed):
    """(how often each status came, what was wrong with what was sent)."""
    rng, seen, wrong = random.Random(seed), {}, []

    async def work():
        async with yes(folder) as client:
            for _ in range(count):
                path, body, headers = mutated(rng)
                answer = await client.post(path, content=body, headers=headers)
                seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
                if found := complaint(answer):
                    wrong.append((found, path, headers, body[:500]))

    asyncio.run(work())
    return seen, wrong
