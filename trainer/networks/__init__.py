"""The networks; importing this package imports every file in it, which registers them."""

import importlib
import pkgutil

from trainer.networks.registry import NETWORKS, Network, build, get

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")

__all__ = ["NETWORKS", "Network", "build", "get"]
