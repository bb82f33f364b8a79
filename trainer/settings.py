"""What a researcher may set of a training; the defaults are the method's (docs/spec/method.md#training)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lesions.settings import FORBID, require

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("exponential", "constant", "cosine", "plateau")
# These may differ between the parts of one training: they change how far and where it goes, not what it computes.
FREE = ("epochs", "patience", "replicas", "jit_compile", "tensorboard")


@dataclass(frozen=True)
class AugmentationSettings:
    """Random changes of training slices, drawn for each slice and epoch; all off unless set.

    Attributes:
        flip: Half of the slices are mirrored left to right. Sagittal slices have no left and right: nothing happens.
        shift: At most this share of the slice's height and width, in both directions.
        rotation: At most so many degrees, in both directions.
        zoom: Larger or smaller by at most this share.
        gamma: Intensities x in 0 to 1 become x^g, g at most 1 + this, at least 1 / (1 + this).
    """

    flip: bool = False
    shift: float = 0.0
    rotation: float = 0.0
    zoom: float = 0.0
    gamma: float = 0.0

    __pydantic_config__ = FORBID

    def __post_init__(self) -> None:
        """Checks each value against its rule."""
        require("augmentation.shift", 0 <= self.shift < 0.5, "at least 0 and below 0.5", self.shift)
        require("augmentation.rotation", 0 <= self.rotation <= 180, "0 to 180 degrees", self.rotation)
        require("augmentation.zoom", 0 <= self.zoom < 1, "at least 0 and below 1", self.zoom)
        require("augmentation.gamma", 0 <= self.gamma <= 10, "0 to 10", self.gamma)


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
        optimizer: adamw, adam (which is adamw without weight decay) or sgd.
        momentum: Of sgd, Nesterov's; 0: none.
        learning_rate: At the first step.
        schedule: exponential: continuous, by the factor `decay_rate` every `decay_steps` steps. constant. cosine: down
            to the factor `decay_rate` along half a wave of `decay_steps` steps, and stays there. plateau: by the factor
            `decay_rate` after `plateau_epochs` epochs in which the validation loss fell by less than 0.001.
        decay_rate: See `schedule`.
        decay_steps: See `schedule`.
        plateau_epochs: See `schedule`.
        weight_decay: Of adamw and sgd, decoupled from the gradient.
        batch_norm_momentum: 0.99 in the method; 0.9 for runs of a few hundred steps.
        batch_norm_slices: Training slices over which batch normalization's statistics are computed anew after each
            epoch, for small batches and short runs; 0: the running averages, as in the method.
        augmentation: Random changes of the training slices.
        precision: A Keras dtype policy; mixed_bfloat16 where the processor has it, mixed_float16 on GPUs only.
        jit_compile: Compile the step with XLA; for GPUs.
        replicas: GPUs of each machine that share a batch; losses and batch normalization are those of the whole batch.
        tensorboard: Write TensorBoard's log of every epoch, with some validation slices as images.
        seed: Of weights, batches and augmentation.
    """

    network: str = "raxnet"
    network_options: dict[str, Any] = field(default_factory=dict)
    loss: str = "focal_tversky"
    batch_size: int = 32
    epochs: int = 500
    patience: int = 50
    optimizer: str = "adamw"
    momentum: float = 0.0
    learning_rate: float = 1e-3
    schedule: str = "exponential"
    decay_rate: float = 0.9
    decay_steps: int = 100_000
    plateau_epochs: int = 3
    weight_decay: float = 0.004
    batch_norm_momentum: float = 0.99
    batch_norm_slices: int = 0
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    precision: str = "float32"
    jit_compile: bool = False
    replicas: int = 1
    tensorboard: bool = False
    seed: int = 0

    __pydantic_config__ = FORBID

    def __post_init__(self) -> None:
        """Checks each value against its rule."""
        even = self.batch_size >= 2 and self.batch_size % 2 == 0
        require("batch_size", even, "an even number of 2 or more", self.batch_size)
        require("epochs", self.epochs >= 1, "1 or more", self.epochs)
        require("patience", self.patience >= 1, "1 or more", self.patience)
        self._check_optimizer()
        momentum = self.batch_norm_momentum
        require("batch_norm_momentum", 0 <= momentum < 1, "at least 0 and below 1", momentum)
        require("batch_norm_slices", self.batch_norm_slices >= 0, "0 or more", self.batch_norm_slices)
        require("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}", self.precision)
        require("replicas", self.replicas >= 1, "1 or more", self.replicas)
        require(
            "replicas",
            self.replicas == 1 or not self.jit_compile,
            "1 where jit_compile is true",
            self.replicas,
        )
        require("seed", self.seed >= 0, "0 or more", self.seed)

    @property
    def architecture(self) -> str:
        """Network and options, for people: what a checkpoint must be of."""
        options = ", ".join(f"{name}={value}" for name, value in sorted(self.network_options.items()))
        return f"{self.network} ({options})" if options else self.network

    def _check_optimizer(self) -> None:
        require("optimizer", self.optimizer in OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}", self.optimizer)
        require("schedule", self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}", self.schedule)
        require("momentum", 0 <= self.momentum < 1, "at least 0 and below 1", self.momentum)
        sgd = self.optimizer == "sgd"
        require("momentum", sgd or not self.momentum, "0 unless optimizer is sgd", self.momentum)
        require("learning_rate", self.learning_rate > 0, "above 0", self.learning_rate)
        require("decay_rate", 0 < self.decay_rate <= 1, "above 0 and at most 1", self.decay_rate)
        require("decay_steps", self.decay_steps >= 1, "1 or more", self.decay_steps)
        require("plateau_epochs", self.plateau_epochs >= 1, "1 or more", self.plateau_epochs)
        require("weight_decay", self.weight_decay >= 0, "0 or more", self.weight_decay)
        plain = self.optimizer == "adam"
        require(
            "weight_decay",
            not (plain and self.weight_decay),
            "0 under adam (adamw has one)",
            self.weight_decay,
        )


def from_dict(content: Mapping[str, Any]) -> TrainingSettings:
    """Settings again of what `dataclasses.asdict` made of them."""
    inner = AugmentationSettings(**content["augmentation"])
    return TrainingSettings(**{**content, "augmentation": inner})
