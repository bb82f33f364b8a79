"""What a researcher may set of a training; the defaults are the method's (raxnet.md, 8)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lesions.settings import FORBID, require

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of every training of a run.

    Attributes:
        network: A name in the registry of networks.
        network_options: Of this network, name to value; empty: the published one.
        loss: A name in the registry of losses.
        batch_size: Slices per batch, half of them with lesion.
        epochs: At most this many.
        patience: Stop after this many epochs without a lower validation loss.
        learning_rate: Of AdamW at the first step.
        decay_rate: The learning rate's factor per `decay_steps` steps, continuous.
        decay_steps: See `decay_rate`.
        weight_decay: Of AdamW.
        batch_norm_momentum: 0.99 in the method; 0.9 for runs of a few hundred steps.
        batch_norm_slices: Training slices over which batch normalization's statistics are computed anew after each
            epoch, for small batches and short runs; 0: the running averages, as in the method.
        precision: A Keras dtype policy; mixed_bfloat16 where the processor has it, mixed_float16 on GPUs only.
        seed: Of weights and batches.
    """

    network: str = "raxnet"
    network_options: dict[str, Any] = field(default_factory=dict)
    loss: str = "focal_tversky"
    batch_size: int = 32
    epochs: int = 500
    patience: int = 50
    learning_rate: float = 1e-3
    decay_rate: float = 0.9
    decay_steps: int = 100_000
    weight_decay: float = 0.004
    batch_norm_momentum: float = 0.99
    batch_norm_slices: int = 0
    precision: str = "float32"
    seed: int = 0

    __pydantic_config__ = FORBID

    def __post_init__(self) -> None:
        """Checks each value against its rule."""
        even = self.batch_size >= 2 and self.batch_size % 2 == 0
        require("batch_size", even, "an even number of 2 or more", self.batch_size)
        require("epochs", self.epochs >= 1, "1 or more", self.epochs)
        require("patience", self.patience >= 1, "1 or more", self.patience)
        require("learning_rate", self.learning_rate > 0, "above 0", self.learning_rate)
        require("decay_rate", 0 < self.decay_rate <= 1, "above 0 and at most 1", self.decay_rate)
        require("decay_steps", self.decay_steps >= 1, "1 or more", self.decay_steps)
        require("weight_decay", self.weight_decay >= 0, "0 or more", self.weight_decay)
        momentum = self.batch_norm_momentum
        require("batch_norm_momentum", 0 <= momentum < 1, "at least 0 and below 1", momentum)
        require("batch_norm_slices", self.batch_norm_slices >= 0, "0 or more", self.batch_norm_slices)
        require("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}", self.precision)
        require("seed", self.seed >= 0, "0 or more", self.seed)
