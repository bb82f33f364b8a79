"""The networks; importing this package registers them."""

from trainer.networks import raxnet as _raxnet
from trainer.networks.registry import NETWORKS, build

__all__ = ["NETWORKS", "build"]
del _raxnet
