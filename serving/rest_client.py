"""Per-plane models behind a model server, TensorFlow Serving or ours: the interface of `serving.predictor`.

Slices travel as bytes in base64 (the signature `slices_bytes`), 16 to a request and two requests at a time, so that
one is packed while the server works on the other (docs/spec/tensorflow_serving.md#production-set-up).
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np

from lesions.errors import InputError, WorkError
from lesions.progress import LOGGER
from lesions.provenance import ModelCard, card_from_json
from lesions.slices import PLANES
from serving import packing
from serving.predictor import SLICES_PER_CALL, check_answer, check_cards, check_slices

log = logging.getLogger(LOGGER)
IN_FLIGHT = 2
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 300.0
PAUSE_SECONDS, LONGEST_PAUSE = 1.0, 30.0  # before the one retry; the server may ask for a longer one
TOKEN = "RAXNET_TOKEN"  # environment variable
_CARD = json.dumps({"signature_name": "card", "instances": [""]}).encode()


class NotReadyError(WorkError):
    """The server cannot be reached, or is not ready to answer: later it may be."""


class VersionGoneError(WorkError):
    """A version that was pinned is no longer served: a newer one took its place."""


class RestPredictor:
    """Models of a server, each pinned to the version that was the newest when it was opened."""

    def __init__(self, client: httpx.Client, url: str):
        """Asks the server for its models; see `open_server`.

        Args:
            client: With the server's address.
            url: The address, for messages.

        Raises:
            InputError: It has no models of ours, or refuses the token.
            WorkError: It cannot be reached, or fails.
        """
        self._client, self._url = client, url
        self._versions = self.newest()
        texts = {plane: self._ask_card(plane) for plane in self._versions}
        self._cards = {plane: card_from_json(text, self._where(plane)) for plane, text in texts.items()}
        self._digests = {plane: hashlib.sha256(text.encode()).hexdigest() for plane, text in texts.items()}
        check_cards({plane: self._where(plane) for plane in texts}, self._cards)

    slices_at_once = 4 * SLICES_PER_CALL

    @property
    def planes(self) -> tuple[str, ...]:
        """The planes that the server has a model of."""
        return tuple(self._versions)

    def card(self, plane: str) -> ModelCard:
        """What the plane's model was trained on, and its grid."""
        return self._cards[plane]

    def identity(self, plane: str) -> dict[str, str]:
        """The version, and a digest of the card, which holds one of the weights: the files are out of reach."""
        return {"version": str(self._versions[plane]), "sha256": self._digests[plane]}

    def pinned(self) -> RestPredictor:
        """The models that are the newest now, to be used for one volume."""
        return RestPredictor(self._client, self._url)

    def predict(self, plane: str, slices: np.ndarray) -> np.ndarray:
        """Probabilities (n, h, w) float32 of slices or stacks (see `Predictor`).

        Raises:
            InputError: The slices have not the model's size.
            WorkError: The server cannot be reached or fails, or its answer is not one probability per voxel.
        """
        check_slices(self._cards[plane], slices)
        starts = range(0, len(slices), SLICES_PER_CALL)
        answer = np.empty((len(slices), *slices.shape[-2:]), np.float32)
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            parts = pool.map(lambda start: self._call(plane, slices[start : start + SLICES_PER_CALL]), starts)
            for start, part in zip(starts, parts, strict=True):
                answer[start : start + SLICES_PER_CALL] = part
        return answer

    def _call(self, plane: str, slices: np.ndarray) -> np.ndarray:
        found = self._ask_model(plane, packing.request(slices))
        try:
            answer = packing.unpack(found, slices.shape[-2:])
        except (ValueError, KeyError, TypeError):
            answer = np.empty(0)
        check_answer(self._where(plane), slices, answer)
        return answer

    def newest(self) -> dict[str, int]:
        """The newest version of each plane that is served now. Raises as `RestPredictor` does."""
        found = {plane: self._newest(plane) for plane in PLANES}
        served = {plane: number for plane, number in found.items() if number is not None}
        if not served:
            raise InputError(f"{self._url}: serves no model of {', '.join(PLANES)}; check --server")
        return served

    def _newest(self, plane: str) -> int | None:
        """The highest version that is served, None where the server has no such model."""
        response = self._send("GET", f"/v1/models/{plane}")
        if response.status_code == 404:
            return None
        content = self._content(response, f"{self._url}, model {plane}")
        try:
            ready = [
                int(one["version"]) for one in content["model_version_status"] if one["state"] == "AVAILABLE"
            ]
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"{self._url}: answers otherwise than TensorFlow Serving; check --server"
            ) from None
        if not ready:
            raise NotReadyError(f"{self._url}: the model {plane} is not ready; try again later")
        return max(ready)

    def _ask_card(self, plane: str) -> str:
        try:
            (text,) = self._ask_model(plane, _CARD)
        except (ValueError, TypeError):
            text = None
        if not isinstance(text, str):
            raise InputError(f"{self._where(plane)}: tells no card; export the model again")
        return text

    def _ask_model(self, plane: str, body: bytes) -> Any:
        path = f"/v1/models/{plane}/versions/{self._versions[plane]}:predict"
        response = self._send("POST", path, body)
        return self._content(response, self._where(plane)).get("predictions")

    def _content(self, response: httpx.Response, where: str) -> dict[str, Any]:
        try:
            content = response.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise InputError(
                f"{where}: no answer of TensorFlow Serving's REST API (HTTP {response.status_code}); check --server"
            )
        if response.status_code == 200:
            return content
        reason = f"HTTP {response.status_code}: {str(content.get('error'))[:300]}"
        if response.status_code in (401, 403):
            raise InputError(
                f"{where}: access refused ({reason}); set {TOKEN}, or see the server's --allowed-host"
            )
        if response.status_code == 404:
            raise VersionGoneError(
                f"{where}: no longer served ({reason}); a newer one took its place: try again"
            )
        if response.status_code == 503:
            raise NotReadyError(f"{where}: {reason}")
        raise WorkError(f"{where}: {reason}")

    def _send(self, method: str, path: str, body: bytes | None = None) -> httpx.Response:
        """The answer; sent once more where the server could not be reached or was not ready, and only then."""
        try:
            response = self._client.request(method, path, content=body)
            if response.status_code != 503:
                return response
            reason, pause = "not ready", _seconds(response.headers.get("retry-after"))
        except (httpx.ReadTimeout, httpx.WriteTimeout):
            raise WorkError(f"{self._url}: no answer within {ANSWER_SECONDS:g} s; try again later") from None
        except httpx.TransportError as error:
            reason, pause = f"cannot be reached ({error})", PAUSE_SECONDS
        log.warning("%s: %s; once more in %g s", self._url, reason, pause)
        time.sleep(pause)
        try:
            return self._client.request(method, path, content=body)
        except httpx.TransportError as error:
            raise NotReadyError(f"{self._url}: cannot be reached ({error}); check --server") from None

    def _where(self, plane: str) -> str:
        return f"{self._url}, {plane} {self._versions[plane]}"


def open_server(url: str, token: str | None = None) -> RestPredictor:
    """Opens the models of a server.

    Args:
        url: http://host:port, or what stands before /v1.
        token: Sent as bearer token.

    Raises:
        InputError: Not such an address; no models of ours there; the token is refused.
        WorkError: It cannot be reached.
    """
    return RestPredictor(open_client(url, token), url.rstrip("/"))


def open_client(url: str, token: str | None = None) -> httpx.Client:
    """A client of a server that need not be there yet. Raises InputError where that is no address."""
    if not url.startswith(("http://", "https://")):
        raise InputError(f"--server: expected http://HOST:PORT, found {url!r}")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    try:
        return httpx.Client(base_url=url, headers=headers, timeout=timeout)
    except (httpx.InvalidURL, ValueError) as error:
        raise InputError(f"--server: {url!r} is no address ({error})") from None


def _seconds(text: str | None) -> float:
    """What Retry-After asks for, within reason."""
    try:
        return min(max(float(text or PAUSE_SECONDS), 0.0), LONGEST_PAUSE)
    except ValueError:
        return PAUSE_SECONDS
