"""Variants of a comparison: nothing differs but what is compared."""

from dataclasses import replace

import pytest

from lesions.errors import InputError
from pipeline import compare
from pipeline.config import CompareSettings, Config
from trainer.settings import TrainingSettings

TRAINING = TrainingSettings(batch_size=8, epochs=7, learning_rate=0.002, seed=3, loss="tversky")


def variants(tmp_path, kind, training=TRAINING, **asked):
    config = Config(data=tmp_path, root=tmp_path, training=training, compare=CompareSettings(**asked))
    return compare.variants(config, kind)


def test_losses_differ_in_the_loss_alone(tmp_path):
    made = variants(tmp_path, "losses")
    assert list(made) == ["focal_tversky", "tversky", "focal", "dice"]
    for name, settings in made.items():
        assert settings == replace(TRAINING, loss=name)


def test_models_by_the_common_recipe_differ_in_the_network_alone(tmp_path):
    made = variants(tmp_path, "models", replace(TRAINING, network_options={"encoder_units": 1}))
    assert list(made) == ["raxnet", "dunet", "clcinet", "xnet"]
    for name, settings in made.items():
        assert settings == replace(TRAINING, network=name)


def test_models_by_their_own_recipe_keep_seed_and_epochs(tmp_path):
    made = variants(tmp_path, "models", recipes="both")
    assert list(made)[:2] == ["raxnet", "raxnet, own recipe"]
    assert len(made) == 8
    own = variants(tmp_path, "models", recipes="published")
    assert set(own) == {name for name in made if name.endswith("own recipe")}
    assert {settings.seed for settings in own.values()} == {3}
    assert {settings.epochs for settings in own.values()} == {7}
    assert own["xnet, own recipe"].loss == "cross_entropy_dice"
    assert own["raxnet, own recipe"] == TrainingSettings(epochs=7, seed=3)


@pytest.mark.parametrize(
    ("kind", "asked", "said"),
    [
        ("losses", {"losses": ("dice", "dise")}, "'dise' is not among cross_entropy_dice, dice"),
        ("models", {"models": ("raxnet", "unet")}, "'unet' is not among clcinet, dunet"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(tmp_path, kind, asked, said):
    with pytest.raises(InputError, match=said):
        variants(tmp_path, kind, **asked)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"losses": ("dice",)}, "losses must be two or more, named once each"),
        ({"models": ("xnet", "xnet")}, "models must be two or more, named once each"),
        ({"recipes": "own"}, "recipes must be one of common, published, both, found 'own'"),
    ],
)
def test_what_cannot_be_compared_is_told(asked, said):
    with pytest.raises(ValueError, match=said):
        CompareSettings(**asked)
