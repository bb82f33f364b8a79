"""Networks by name: adding one is a file in this folder and a line in `__init__`."""

from __future__ import annotations

from collections.abc import Callable

import keras

Builder = Callable[..., keras.Model]
NETWORKS: dict[str, Builder] = {}


def register(name: str) -> Callable[[Builder], Builder]:
    """Decorator: makes a builder known by `name`."""

    def add(builder: Builder) -> Builder:
        NETWORKS[name] = builder
        return builder

    return add


def build(name: str, height: int, width: int, batch_norm_momentum: float = 0.99) -> keras.Model:
    """Builds a registered network for a canvas of (height, width).

    Raises:
        ValueError: No such network; says which there are.
    """
    if name not in NETWORKS:
        raise ValueError(f"network: {name!r} is not among {sorted(NETWORKS)}")
    return NETWORKS[name](height, width, batch_norm_momentum=batch_norm_momentum)
