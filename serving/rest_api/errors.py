"""Errors of the REST API: TensorFlow's status codes and TensorFlow Serving's HTTP status and body.

The table of codes: docs/spec/tensorflow_serving.md#errors.
"""

from __future__ import annotations

import json

# Names in the order of their numbers, which TensorFlow's own exceptions carry.
CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
HTTP_STATUS = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class RestError(Exception):
    """A request that is answered with an error."""

    def __init__(self, code: str, message: str, status: int | None = None):
        """Args: code: One of `CODES`. message: For the caller. status: HTTP status where it is not the code's own."""
        super().__init__(message)
        self.code, self.message = code, message
        self.status = status or HTTP_STATUS.get(code, 500)

    def __reduce__(self) -> tuple:
        """Comes out of another process as it was."""
        return RestError, (self.code, self.message, self.status)


def invalid(message: str) -> RestError:
    """The commonest one: INVALID_ARGUMENT, 400."""
    return RestError("INVALID_ARGUMENT", message)


def body(message: str) -> bytes:
    """The body of every error."""
    return json.dumps({"error": message}, indent=4, ensure_ascii=False).encode("utf-8", "replace")
