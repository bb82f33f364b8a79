"""What each network's authors trained it with, as far as their code says.

RAX-Net's is the method's (docs/spec/method.md#training). The others are in the sections of the networks
(docs/spec/comparison_networks.md#d-unet, docs/spec/comparison_networks.md#clci-net,
docs/spec/comparison_networks.md#x-net).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from trainer.settings import AugmentationSettings, TrainingSettings

# What two of them have in common.
_ADAM: dict[str, Any] = {
    "optimizer": "adam",
    "weight_decay": 0.0,
    "batch_size": 8,
    "epochs": 100,
    "patience": 5,
    "schedule": "plateau",
    "decay_rate": 0.2,
    "plateau_epochs": 3,
}
PUBLISHED: dict[str, dict[str, Any]] = {
    "raxnet": {},  # the settings' defaults are the method's
    "dunet": {
        "loss": "enhanced_mixing",
        "optimizer": "sgd",
        "weight_decay": 0.0,
        "learning_rate": 1e-4,
        "schedule": "constant",
        "batch_size": 36,
        "epochs": 150,
        "patience": 150,
        "augmentation": AugmentationSettings(flip=True, shift=0.1, rotation=20.0, zoom=0.2),
    },
    # Batch and schedule of CLCI-Net are inferred: its authors refer to X-Net's script.
    "clcinet": {**_ADAM, "loss": "squared_dice", "learning_rate": 1e-4},
    "xnet": {**_ADAM, "loss": "cross_entropy_dice"},
}


def published(network: str, base: TrainingSettings) -> TrainingSettings:
    """A network under its authors' recipe.

    Args:
        network: A key of `PUBLISHED`.
        base: Whose seed, epochs (no recipe has more) and what does not concern the result are kept.
    """
    recipe = PUBLISHED[network]
    own = TrainingSettings(network=network, **recipe)
    kept = {
        name: getattr(base, name) for name in ("seed", "precision", "jit_compile", "replicas", "tensorboard")
    }
    return replace(own, epochs=min(own.epochs, base.epochs), **kept)
