"""Networks by name. Adding one is a file in this folder with a builder under `register`: every file is imported."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from lesions.slices import ONE_SLICE, Context

Builder = Callable[..., keras.Model]


@dataclass(frozen=True)
class Network:
    """How a network is built, and what it must be given.

    Attributes:
        builder: Called with (height, width, batch_norm_momentum, **options); keyword-only parameters are its options.
        context: The slices that it sees, as offsets from the target slice along the plane's normal, ascending and
            with 0 among them. They are the channels of its input.
    """

    builder: Builder
    context: Context = ONE_SLICE

    @property
    def options(self) -> dict[str, Any]:
        """Name and default of every option."""
        parameters = inspect.signature(self.builder).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


NETWORKS: dict[str, Network] = {}


def register(name: str, context: Context = ONE_SLICE) -> Callable[[Builder], Builder]:
    """Decorator: makes a builder known by `name`, with the slices that it sees."""

    def add(builder: Builder) -> Builder:
        NETWORKS[name] = Network(builder, context)
        return builder

    return add


def get(name: str, options: Mapping[str, Any] | None = None) -> Network:
    """A registered network, its options checked.

    Args:
        name: Of the network.
        options: Of this network, name to value.

    Raises:
        ValueError: No such network, no such option or a value of another kind; says which there are.
    """
    if name not in NETWORKS:
        raise ValueError(f"network: {name!r} is not among {', '.join(sorted(NETWORKS))}")
    known = NETWORKS[name].options
    for option, value in (options or {}).items():
        if option not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise ValueError(f"network_options: {name} has no option {option!r}; {has}")
        kind = type(known[option])
        if type(value) is not kind:
            raise ValueError(f"network_options.{option} must be of type {kind.__name__}, found {value!r}")
    return NETWORKS[name]


def build(
    name: str,
    height: int,
    width: int,
    batch_norm_momentum: float = 0.99,
    options: Mapping[str, Any] | None = None,
) -> keras.Model:
    """Builds a registered network for a canvas of (height, width).

    Raises:
        ValueError: As `get`.
    """
    network = get(name, options)
    return network.builder(height, width, batch_norm_momentum, **(options or {}))
