"""Takes a scan off the wire into a private file: counted as it comes, judged by its header before it is unpacked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from serving.gateway import scan
from serving.gateway.files import private_file
from serving.gateway.refusal import GoneError, Refusal

FIELD = "file"
PATIENCE, LEAST_RATE = 30.0, 32 << 10  # seconds, and bytes a second, that a client may take
_SLACK = 64 << 10  # bytes of a form that are not the scan
_BLOCK = 1 << 20


async def receive(request: Request, folder: Path, limits: scan.Limits) -> tuple[Path, dict[str, str]]:
    """Reads a request's body.

    Args:
        request: With a NIfTI file as its body, or as the only file of a form.
        folder: Private; the file is written into it.
        limits: What is taken.

    Returns:
        The scan's file, its name ending as its content demands, and the form's other fields.

    Raises:
        Refusal: 400, 408, 413 or 422.
        GoneError: The client went away.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and (len(declared) > 18 or int(declared) > limits.upload + _SLACK):
        raise _too_large(limits)
    path, fields = folder / "upload", {}
    try:
        if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            fields = await _form(request, path, limits)
        else:
            with private_file(path) as file:
                async for part in _counted(request, limits.upload, limits):
                    file.write(part)
    except ClientDisconnect:
        raise GoneError from None
    return await asyncio.to_thread(scan.judge, path, limits), fields


async def _counted(request: Request, most: int, limits: scan.Limits) -> AsyncIterator[bytes]:
    """The body's parts, never more than `most` bytes, none waited for too long."""
    parts, size, start = request.stream(), 0, time.monotonic()
    while True:
        left = start + PATIENCE + size / LEAST_RATE - time.monotonic()
        try:
            part = await asyncio.wait_for(_next(parts), max(left, 0.001))
        except asyncio.TimeoutError:
            raise Refusal(408, f"The body came too slowly: {size} bytes so far; send it again") from None
        if part is None:
            return
        size += len(part)
        if size > most:  # whatever Content-Length said
            raise _too_large(limits)
        yield part


async def _next(parts: AsyncIterator[bytes]) -> bytes | None:
    """The next part, None at the end."""
    async for part in parts:
        return part
    return None


async def _form(request: Request, path: Path, limits: scan.Limits) -> dict[str, str]:
    parser = MultiPartParser(
        request.headers,
        _counted(request, limits.upload + _SLACK, limits),  # type: ignore[arg-type] # any iterator will do
        max_files=1,
        max_fields=16,
        max_part_size=4096,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise Refusal(
            400, f"The form cannot be read ({error}); send one file in the field {FIELD!r}"
        ) from None
    try:
        sent = form.get(FIELD)
        if not isinstance(sent, UploadFile):
            raise Refusal(400, f"The form has no file in the field {FIELD!r}; send the scan there")
        with private_file(path) as file:
            await asyncio.to_thread(_copy, sent.file, file)
        return {name: value for name, value in form.items() if isinstance(value, str)}
    finally:
        await form.close()


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    while block := source.read(_BLOCK):
        target.write(block)


def _too_large(limits: scan.Limits) -> Refusal:
    return Refusal(413, f"The body holds more than the {limits.upload} bytes that are taken; send less")
