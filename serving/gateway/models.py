"""The models behind the gateway: a model server, TensorFlow Serving or ours, asked over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np

from lesions.errors import InputError, WorkError
from lesions.provenance import ModelCard
from serving import releases
from serving.predictor import Predictor
from serving.rest_client import RestPredictor
from serving.sidecar import statement


class Models:
    """A model server that may be down, start anew, and get new versions at any time."""

    def __init__(self, client: httpx.Client, url: str, folder: Path | None = None):
        """Asks nothing yet.

        Args:
            client: With the server's address.
            url: What to call it in messages; callers need not know where it is.
            folder: Of the models, where it is at hand: the releases are in it.
        """
        self._client, self._url, self._folder = client, url, folder
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
        every = releases.released(self._folder) if self._folder else []
        named = {plane: int(number) for plane, number in versions.items()}
        return next((str(one["id"]) for one in reversed(every) if releases.versions(one) == named), None)

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
