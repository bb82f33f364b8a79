"""The models behind the gateway: a model server, TensorFlow Serving or ours, asked over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from lesions.errors import InputError, WorkError
from lesions.provenance import ModelCard
from serving.predictor import Predictor
from serving.rest_client import RestPredictor
from serving.sidecar import statement


class Models:
    """A model server that may be down, start anew, and get new versions at any time."""

    def __init__(self, client: httpx.Client, url: str, releases: Path | None = None):
        """Asks nothing yet.

        Args:
            client: With the server's address.
            url: What to call it in messages; callers need not know where it is.
            releases: Folder of the releases' records, where it is at hand.
        """
        self._client, self._url, self._releases = client, url, releases
        self._last: RestPredictor | None = None

    def pin(self) -> Pinned:
        """The newest versions as they are now, for one volume.

        Raises:
            NotReadyError: They are not all there.
            WorkError: The server fails, or is none of ours.
        """
        try:
            self._last = RestPredictor(self._client, self._url)
            return Pinned(self._last)
        except InputError as error:  # not the caller's fault
            raise WorkError(str(error)) from None

    def ready(self) -> dict[str, str]:
        """Plane to version of what is served now; quicker than `pin`. Raises as that does."""
        try:
            if self._last is None:
                return self.pin().versions
            return {plane: str(number) for plane, number in self._last.newest().items()}
        except InputError as error:
            raise WorkError(str(error)) from None

    def release(self, versions: dict[str, str]) -> str | None:
        """The id of the newest release of just these versions; None where there is none, or it cannot be read."""
        found = []
        for path in self._releases.glob("*.json") if self._releases else ():
            try:
                content = json.loads(path.read_text())
                named = {plane: str(model["version"]) for plane, model in content["models"].items()}
                found += [(content["created"], content["id"])] if named == versions else []
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
        return max(found)[1] if found else None

    def describe(self) -> dict[str, Any]:
        """What the models are, plain JSON. Raises as `pin`."""
        pinned = self.pin()
        card = pinned.card(pinned.planes[0])
        return {
            "models": {plane: _facts(pinned, plane) for plane in pinned.planes},
            "release": self.release(pinned.versions),
            "grid": {"shape": list(card.grid.shape), "voxel_mm": list(card.grid.spacing)},
            "statement": statement(pinned),
            "phantom": any(pinned.card(plane).phantom for plane in pinned.planes),
        }


class Pinned:
    """One volume's models: a `Predictor` whose failures are never called the scan's."""

    def __init__(self, predictor: Predictor):
        """Args: predictor: Of one server, pinned."""
        self._predictor = predictor
        self.planes, self.slices_at_once = predictor.planes, predictor.slices_at_once
        self.versions = {plane: predictor.identity(plane)["version"] for plane in predictor.planes}

    def card(self, plane: str) -> ModelCard:
        """What the plane's model was trained on, and its grid."""
        return self._predictor.card(plane)

    def identity(self, plane: str) -> dict[str, str]:
        """Version and digest."""
        return self._predictor.identity(plane)

    def pinned(self) -> Pinned:
        """Itself."""
        return self

    def predict(self, plane: str, slices: np.ndarray) -> np.ndarray:
        """Probabilities (n, h, w). Raises WorkError alone."""
        try:
            return self._predictor.predict(plane, slices)
        except InputError as error:
            raise WorkError(str(error)) from None


def _facts(pinned: Pinned, plane: str) -> dict[str, Any]:
    card = pinned.card(plane)
    known: dict[str, Any] = {"network": card.network, "dataset": card.dataset}
    known |= {"subjects": card.subjects or None, "fold": card.fold or None}  # 0 where it is not known
    return pinned.identity(plane) | known
