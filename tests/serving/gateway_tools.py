"""What the gateway's tests share: scans as bytes, and the application itself, in this process, over any models."""

import asyncio
import contextlib
import gzip
import io
import time

import httpx
import nibabel as nib
import numpy as np

from serving.gateway.app import Gateway
from serving.gateway.settings import Settings
from serving.http_guard import Guard


def nifti_bytes(data, matrix, packed=True, kind=nib.Nifti1Image, slope=None):
    """A scan's file. With a slope, stored as integers."""
    image = kind(data, matrix, dtype=data.dtype)
    if slope:
        image.header.set_slope_inter(*slope)
        raw = io.BytesIO()
        image.header.set_data_dtype(np.int16)
        stored = np.round((data - slope[1]) / slope[0]).astype(np.int16)
        image.header["vox_offset"] = 352
        raw.write(image.header.binaryblock + bytes(4) + stored.tobytes(order="F"))
        content = raw.getvalue()
    else:
        content = image.to_bytes()
    return gzip.compress(content, 1) if packed else content


def image_of(content):
    """An image from an answer's body."""
    return nib.Nifti1Image.from_bytes(gzip.decompress(content))


def error_of(answer, status):
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    assert answer.headers["x-request-id"]
    return answer.json()["error"]


class InProcessModels:
    """Stands where `serving.gateway.models.Models` does, over a predictor of this process."""

    def __init__(self, predictor):
        self.predictor, self.pins, self.failures = predictor, 0, []

    def pin(self):
        self.pins += 1
        if self.failures:
            raise self.failures.pop(0)
        return _Pinned(self.predictor)

    def ready(self):
        return self.pin().versions

    def release(self, versions):
        return None


class _Pinned:
    def __init__(self, predictor):
        self.predictor, self.planes = predictor, predictor.planes
        self.slices_at_once = predictor.slices_at_once
        self.versions = {plane: predictor.identity(plane)["version"] for plane in self.planes}

    def __getattr__(self, name):
        return getattr(self.predictor, name)


@contextlib.asynccontextmanager
async def running(models, scratch, guard=None, **settings):
    """The application, started, and a client of it."""
    (scratch / "work").mkdir(exist_ok=True)
    chosen = Settings(scratch / "work", settings.pop("jobs", scratch / "jobs"), **settings)
    gateway = Gateway(models, guard or Guard(), chosen)
    await gateway.start()
    transport = httpx.ASGITransport(gateway, raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            yield gateway, client
    finally:
        await gateway.close()


async def until(condition, seconds=60.0):
    """Waits for a condition, which may be a coroutine function."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        found = await found if asyncio.iscoroutine(found) else found
        if found:
            return found
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.02)


async def finished(client, where):
    """A job, once it is at its end."""

    async def look():
        job = (await client.get(where)).json()
        return job if job["state"] not in ("queued", "running") else None

    return await until(look)
