"""TensorFlow Serving's REST API: addresses, requests, answers and errors; pure, without TensorFlow.

What it is held to: docs/spec/tensorflow_serving.md#rest-api.
Where this server answers otherwise than TensorFlow Serving, `DEVIATIONS` says so; docs/serving.md has the same list.
"""

DEVIATIONS = {
    "shape check": "Rank and fixed dimensions are held against the signature first, 400: a wrong rank can end "
    "TensorFlow's whole process.",
    "integer range": "int8, uint8 and int16 out of their range: 400 instead of wrapping around to another number.",
    "version overflow": "A version beyond 64 bits: 400 with the error as JSON instead of an empty body.",
    "spellings": "`Inf`, `-Inf` and `-NaN` are refused (400); `NaN`, `Infinity` and `-Infinity` are read.",
    "classify and regress": "400: the models served here have none of these signatures.",
    "dimensions": "Tensors of more than 32 dimensions: 400, where TensorFlow Serving allows 254.",
    "limits": "Bodies (413), waiting requests (503), nesting beyond 4 MiB of text (400) and metrics' label values are "
    "limited; a body must be UTF-8 (400).",
    "access": "Foreign Host and Origin headers (403); a bearer token where one is set (401).",
    "draining": "A version that was replaced answers until it has not been asked for a while, so that a volume that "
    "pinned it can be finished.",
    "restart": "503 with Retry-After while the process with the models starts anew.",
    "HEAD": "The answer to HEAD has no body, as HTTP demands.",
}
