"""What a model was trained on, kept inside it, and the sentence that every mask and page must carry."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lesions.errors import InputError
from lesions.grid import Grid, grid_from_json
from lesions.slices import ONE_SLICE, Context, slice_shape

CARD_FILE = "assets.extra/raxnet.json"  # TF Serving ignores assets.extra, and copies of the folder keep it
CARD_FORMAT = 1


@dataclass(frozen=True)
class ModelCard:
    """Facts of one trained per-plane model.

    Attributes:
        plane: axial, sagittal or coronal.
        fold: The fold it was validated on; 0 where models of several folds are averaged (see `members`), or where
            it is not known.
        network: Its name in the registry.
        loss: Its name.
        grid: The grid of the scans that it was trained on.
        canvas: ((before, after) of rows, of columns): the zero padding inside the model.
        dataset: Name of the data set.
        phantom: True where the training scans were synthetic.
        subjects: Number of training subjects (without validation and hold-out); 0 where it is not known.
        validation_subjects: Number of subjects that chose the epoch.
        fold_map: Digest of the fold map, so that models are compared only on equal folds.
        data: Digest of the data set.
        epochs: Epochs trained.
        best_epoch: The epoch whose weights these are, from 1.
        parameters: Number of weights.
        software: Package versions.
        members: The validation folds of the models that are averaged in it; empty for a single model.
        context: Offsets of the slices that the network sees along the plane's normal, 0 the one that it segments.
        weights: SHA-256 of its weights; "" in models exported before it was kept.
        source: The file that it was imported from; "" where it was trained here.
    """

    plane: str
    fold: int
    network: str
    loss: str
    grid: Grid
    canvas: tuple[tuple[int, int], tuple[int, int]]
    dataset: str
    phantom: bool
    subjects: int
    validation_subjects: int
    fold_map: str
    data: str
    epochs: int
    best_epoch: int
    parameters: int
    software: dict[str, str] = field(default_factory=dict)
    members: tuple[int, ...] = ()
    context: Context = ONE_SLICE
    weights: str = ""
    source: str = ""

    @property
    def asked_with(self) -> tuple[int, ...]:
        """Shape of what the model is asked with: a slice (h, w), or a stack (slices, h, w) in its context's order."""
        shape = slice_shape(self.grid.shape, self.plane)
        return shape if self.context == ONE_SLICE else (len(self.context), *shape)

    def statement(self) -> str:
        """One sentence: trained on what, on how many, real or synthetic."""
        return statement(self.dataset, self.subjects, self.phantom)

    def write(self, model: Path) -> None:
        """Writes the card into a SavedModel's folder."""
        path = model / CARD_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.as_json())

    def as_json(self) -> str:
        """The card as text; `card_from_json` reads it."""
        content = asdict(self) | {"grid": self.grid.as_json(), "format": CARD_FORMAT}
        return json.dumps(content, indent=2) + "\n"


def statement(dataset: str, subjects: int, phantom: bool) -> str:
    """The sentence about the training data that goes with every mask and page; `subjects` 0: not known."""
    if phantom:
        return (
            f"Trained on {subjects} synthetic subjects ({dataset}): "
            "a demonstration on phantom data, not fit for real scans."
        )
    if not subjects:
        return (
            f"Trained on {dataset}; on which subjects is not known, so scores on scans of that data set may be of "
            "scans that it was trained on. For research; not a medical device."
        )
    return f"Trained on {subjects} subjects of {dataset}. For research; not a medical device."


def read_card(model: Path) -> ModelCard:
    """Reads the card of a SavedModel's folder.

    Raises:
        InputError: There is none, or it is of another format.
    """
    path = model / CARD_FILE
    try:
        return card_from_json(path.read_text(), str(path))
    except FileNotFoundError:
        raise InputError(f"{model}: no raxnet model here ({CARD_FILE} is missing); check --models") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: damaged ({error}); export the model again") from None


def card_from_json(text: str, where: str) -> ModelCard:
    """Reads the text of `ModelCard.as_json`.

    Args:
        text: The text.
        where: Where it came from, for the error.

    Raises:
        InputError: It is damaged, or of another format.
    """
    try:
        content: dict[str, Any] = json.loads(text)
        if content.pop("format") != CARD_FORMAT:
            raise InputError(f"{where}: written by another version; export the model again")
        content["grid"] = grid_from_json(content["grid"])
        rows, columns = content["canvas"]
        content["canvas"] = (tuple(rows), tuple(columns))
        content["members"] = tuple(content.get("members", ()))
        content["context"] = tuple(content.get("context", ONE_SLICE))
        return ModelCard(**content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{where}: damaged ({error}); export the model again") from None
