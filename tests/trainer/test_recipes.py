"""The rivals' recipes are those of their code, and can be configured.

They are in the networks' sections (docs/spec/comparison_networks.md#d-unet,
docs/spec/comparison_networks.md#clci-net, docs/spec/comparison_networks.md#x-net).
"""

import pytest

from trainer import networks
from trainer.recipes import PUBLISHED, published
from trainer.settings import TrainingSettings

BASE = TrainingSettings(epochs=500, seed=4, precision="mixed_bfloat16")
EXPECTED = {  # loss, optimizer, learning rate, batch, epochs, patience, schedule, weight decay
    "raxnet": ("focal_tversky", "adamw", 1e-3, 32, 500, 50, "exponential", 0.004),
    "dunet": ("enhanced_mixing", "sgd", 1e-4, 36, 150, 150, "constant", 0.0),
    "clcinet": ("squared_dice", "adam", 1e-4, 8, 100, 5, "plateau", 0.0),
    "xnet": ("cross_entropy_dice", "adam", 1e-3, 8, 100, 5, "plateau", 0.0),
}
NAMES = ["loss", "optimizer", "learning_rate", "batch_size", "epochs", "patience", "schedule", "weight_decay"]


@pytest.mark.parametrize("network", EXPECTED)
def test_a_recipe_is_the_authors(network):
    settings = published(network, BASE)
    assert tuple(getattr(settings, name) for name in NAMES) == EXPECTED[network]
    assert settings.network == network
    assert (settings.seed, settings.precision) == (4, "mixed_bfloat16")
    assert settings.augmentation.rotation == (20.0 if network == "dunet" else 0.0)


def test_there_is_a_recipe_for_every_network():
    assert set(PUBLISHED) == set(EXPECTED) == set(networks.NETWORKS)


def test_no_more_epochs_than_the_configuration_has():
    assert published("dunet", TrainingSettings(epochs=2)).epochs == 2
