"""Networks by name: a file each, options checked, the slices that they see declared."""

import pytest

from trainer import networks
from trainer.networks import NETWORKS, Network

CONTEXTS = {"raxnet": (0,), "dunet": (-2, -1, 0, 1), "clcinet": (0,), "xnet": (0,)}


def test_every_file_s_network_is_known_with_its_context():
    assert {name: network.context for name, network in NETWORKS.items()} == CONTEXTS


def test_options_are_the_builder_s_keywords(monkeypatch):
    def toy(height, width, batch_norm_momentum=0.99, *, depth: int = 3, wide: bool = False):
        return height, width, batch_norm_momentum, depth, wide

    monkeypatch.setitem(NETWORKS, "toy", Network(toy))
    assert networks.get("toy").options == {"depth": 3, "wide": False}
    assert networks.build("toy", 16, 32, 0.9, {"wide": True}) == (16, 32, 0.9, 3, True)
    assert networks.build("toy", 16, 32) == (16, 32, 0.99, 3, False)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("raxnot", {}, "network: 'raxnot' is not among clcinet, dunet, raxnet, xnet"),
        ("raxnet", {"units": 1}, "no option 'units'; it has encoder_units, decoder_units, encoder_shortcuts"),
        ("xnet", {"units": 1}, "xnet has no option 'units'; it has none"),
        ("raxnet", {"encoder_units": "two"}, "encoder_units must be of type int, found 'two'"),
        ("raxnet", {"encoder_units": True}, "encoder_units must be of type int, found True"),
        ("raxnet", {"encoder_shortcuts": 0}, "encoder_shortcuts must be of type bool, found 0"),
        ("raxnet", {"encoder_units": -1}, "encoder_units must be 0 or more, found -1"),
    ],
)
def test_what_is_wrong_is_named_with_what_there_is(name, options, said):
    with pytest.raises(ValueError, match=r".") as error:
        networks.build(name, 32, 32, options=options)
    assert said in str(error.value)
