"""Requests that are answered with an error: a status and one sentence."""

from __future__ import annotations

import errno

from starlette.responses import JSONResponse, Response

from lesions.errors import InputError, WorkError
from serving.rest_api.errors import RestError
from serving.rest_client import NotReadyError

DEFECT = "Internal error of the server; see its log"
RETRY_SECONDS = 10  # asked of a client while the models are not there or the queue is full


class Refusal(Exception):
    """A request that is not done."""

    def __init__(self, status: int, message: str):
        """Args: status: HTTP. message: What is wrong, and what to do; for the caller."""
        super().__init__(message)
        self.status, self.message = status, message


class GoneError(Exception):
    """Nobody waits for the work any more."""


def refusal(error: Exception) -> Refusal | None:
    """An expected error as what the caller is told; None for a defect of ours."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RestError):  # of the guard
        return Refusal(error.status, error.message)
    if isinstance(error, InputError):
        return Refusal(422, str(error))
    if isinstance(error, NotReadyError):
        return Refusal(503, str(error))
    if isinstance(error, WorkError):
        return Refusal(502, str(error))
    if isinstance(error, GoneError):
        return Refusal(499, "The client went away")
    if isinstance(error, MemoryError):
        return Refusal(413, "The scan needs more memory than there is; send one of fewer voxels")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refusal(507, "There is no room on the server's disk")
    return None


def answer(refused: Refusal) -> Response:
    """The answer to the caller."""
    headers = {"Retry-After": str(RETRY_SECONDS)} if refused.status in (429, 503) else {}
    if refused.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": refused.message}, refused.status, headers)
