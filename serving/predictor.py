"""Per-plane models that answer in this process, from SavedModel folders."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lesions.errors import InputError, WorkError
from lesions.provenance import CARD_FILE, ModelCard, read_card
from lesions.slices import PLANES
from serving import device

# Of a server: as fast as any number, and under 1 GB (docs/spec/tensorflow_serving.md#latency-and-chunk-size).
SLICES_PER_CALL = 16
COMPLETE = ("saved_model.pb", "variables/variables.index", CARD_FILE)  # a version half copied lacks some


class Predictor(Protocol):
    """Whatever turns slices into probabilities: models in process, or a server's client."""

    @property
    def planes(self) -> tuple[str, ...]:
        """The planes that it has a model of, in the order of `lesions.slices.PLANES`."""

    def card(self, plane: str) -> ModelCard:
        """What the plane's model was trained on, and its grid."""

    def predict(self, plane: str, slices: np.ndarray) -> np.ndarray:
        """Probabilities (n, h, w) float32 of slices (n, h, w) float32, raw, none of them empty.

        Where the card's context is more than the slice itself: of stacks (n, slices, h, w), in its order, with
        zeros for neighbors that are empty or outside.
        """

    def identity(self, plane: str) -> dict[str, str]:
        """What tells this very model from others: "version" and "sha256"."""

    @property
    def slices_at_once(self) -> int:
        """How many slices `predict` is best given."""

    def pinned(self) -> Predictor:
        """The models as they are now, which stay the same for one volume, whatever is pushed meanwhile."""


class SavedModelPredictor:
    """SavedModels, loaded when first used."""

    slices_at_once = 4 * SLICES_PER_CALL  # the models themselves bound what they hold at a time

    def __init__(
        self, folders: Mapping[str, Path], version: str | None = None, precision: str = device.FLOAT32
    ) -> None:
        """Reads the models' cards.

        Args:
            folders: The SavedModel folder of each plane.
            version: What to call them all; None: each by its folder's name.
            precision: One of `device.PRECISIONS`, for all models of this process.

        Raises:
            InputError: No folder given, a card is missing or damaged, the models do not belong together, or this
                machine has not the precision.
        """
        if not folders:
            raise InputError("no model given; name the SavedModel of one plane at least")
        self._folders = {plane: Path(folders[plane]) for plane in PLANES if plane in folders}
        device.check_precision(precision)
        self._version, self._precision = version, precision
        self._cards = {plane: read_card(folder) for plane, folder in self._folders.items()}
        self._loaded: dict[str, tuple[Any, Callable[..., Any]]] = {}
        check_cards(self._folders, self._cards)

    @property
    def planes(self) -> tuple[str, ...]:
        """The planes that it has a model of."""
        return tuple(self._folders)

    def card(self, plane: str) -> ModelCard:
        """What the plane's model was trained on, and its grid."""
        return self._cards[plane]

    def identity(self, plane: str) -> dict[str, str]:
        """The version (the folder's name), a digest over all files of the model, the precision if not float32."""
        return self._identities[plane]

    def pinned(self) -> SavedModelPredictor:
        """Itself: its folders were chosen when it was opened."""
        return self

    @cached_property
    def _identities(self) -> dict[str, dict[str, str]]:
        precision = {} if self._precision == device.FLOAT32 else {"precision": self._precision}
        return {
            plane: {"version": self._version or folder.name, "sha256": folder_digest(folder)} | precision
            for plane, folder in self._folders.items()
        }

    def predict(self, plane: str, slices: np.ndarray) -> np.ndarray:
        """Probabilities (n, h, w) float32 of slices or stacks (see `Predictor`), `slices_at_once` to a call.

        Raises:
            InputError: The slices have not the model's size, or the model is damaged.
            WorkError: TensorFlow failed, or the answer is not one probability per voxel.
        """
        check_slices(self._cards[plane], slices)
        answer = np.empty((len(slices), *slices.shape[-2:]), np.float32)
        for start in range(0, len(slices), self.slices_at_once):
            part = slice(start, start + self.slices_at_once)
            answer[part] = self._call(plane, slices[part])
        return answer

    def _call(self, plane: str, slices: np.ndarray) -> np.ndarray:
        if plane not in self._loaded:
            self._loaded[plane] = self._load(plane)
        _, infer = self._loaded[plane]
        tf = device.tensorflow()
        try:
            answer = infer(slices=tf.constant(slices, tf.float32))["probabilities"].numpy()
        except (tf.errors.OpError, KeyError, TypeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise WorkError(
                f"{self._folders[plane]}: prediction failed ({reason}); export the model again"
            ) from None
        check_answer(str(self._folders[plane]), slices, answer)
        return answer

    def _load(self, plane: str) -> tuple[Any, Callable[..., Any]]:
        """The model, which keeps its variables alive, and its signature."""
        folder, tf = self._folders[plane], device.tensorflow()
        device.compute_in(self._precision)
        try:
            model = tf.saved_model.load(str(folder))
            infer = model.signatures["serving_default"]
        except Exception as error:  # TensorFlow raises a dozen kinds for a damaged file
            reason = str(error).partition("\n")[0]
            raise InputError(f"{folder}: damaged model ({reason}); export or copy it again") from None
        if (
            "slices" not in infer.structured_input_signature[1]
            or "probabilities" not in infer.structured_outputs
        ):
            raise InputError(f"{folder}: not a raxnet model (no input `slices`, output `probabilities`)")
        return model, infer


def check_slices(card: ModelCard, slices: np.ndarray) -> None:
    """Raises InputError where slices or stacks have not the size that a model is asked with."""
    expected = card.asked_with
    if slices.shape[1:] != expected:
        raise InputError(
            f"{card.plane} slices: expected (n, {', '.join(map(str, expected))}), found {slices.shape}"
        )


def check_answer(where: str, slices: np.ndarray, answer: np.ndarray) -> None:
    """Raises WorkError, with the name of the model, where an answer is not one finite number per voxel."""
    expected = (len(slices), *slices.shape[-2:])
    if answer.shape != expected or not np.isfinite(answer).all():
        raise WorkError(f"{where}: its answer is no probability for each of {expected} voxels")


def open_models(models: Path, precision: str = device.FLOAT32) -> SavedModelPredictor:
    """Opens the newest complete version of each plane in <models>/<plane>/<version>/.

    Raises:
        InputError: No such folder, no model in it, one that may not be read, or models that do not belong together.
    """
    models = Path(models)
    if not models.is_dir():
        raise InputError(f"{models}: no such folder of models; give one with --models")
    try:
        found = {plane: newest for plane in PLANES if (newest := newest_version(models / plane))}
    except PermissionError as error:
        raise InputError(f"{error.filename}: this user may not read it; change its rights") from None
    if not found:
        inner = models / "serving_models"
        hint = f"did you mean {inner}?" if inner.is_dir() else "give another with --models"
        raise InputError(f"{models}: no <plane>/<version>/saved_model.pb of {', '.join(PLANES)} here; {hint}")
    return SavedModelPredictor(found, precision=precision)


def newest_version(folder: Path) -> Path | None:
    """The complete version with the highest number, or None; other names than numbers are passed over."""
    if not folder.is_dir():
        return None
    numbers = [path for path in folder.iterdir() if path.name.isascii() and path.name.isdigit()]
    complete = [path for path in numbers if all((path / name).is_file() for name in COMPLETE)]
    return max(complete, key=lambda path: int(path.name), default=None)


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a folder's files."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def check_cards(sources: Mapping[str, Path | str], cards: Mapping[str, ModelCard]) -> None:
    """Raises InputError where models do not belong together.

    Args:
        sources: Where each plane's model comes from, for the error.
        cards: Their cards.
    """
    first = next(iter(cards))
    for plane, card in cards.items():
        if card.plane != plane:
            raise InputError(f"{sources[plane]}: a model of {card.plane} slices; move it to its own folder")
        if not card.grid.same_as(cards[first].grid):
            raise InputError(
                f"{sources[plane]}: trained on grid {card.grid.shape}, {first} on {cards[first].grid.shape}; "
                "give models of one grid"
            )
