"""Layers that the comparison networks have in common (docs/spec/comparison_networks.md#common-conventions)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers


@dataclass(frozen=True)
class Blocks:
    """Convolutions with he_normal kernels, bias and padding `same`, in the usual combinations.

    Attributes:
        momentum: Of batch normalization.
        regularizer: Of the convolutions' kernels; None: none.
    """

    momentum: float
    regularizer: keras.regularizers.Regularizer | None = None

    def conv(self, filters: int, size: int, name: str, rank: int = 2, **options: Any) -> layers.Layer:
        """A convolution over `rank` axes; options as Keras' own."""
        kind = {2: layers.Conv2D, 3: layers.Conv3D}[rank]
        return kind(
            filters,
            size,
            padding="same",
            kernel_initializer="he_normal",
            kernel_regularizer=self.regularizer,
            name=name,
            **options,
        )

    def norm_relu(self, x: Any, name: str) -> Any:
        """Batch normalization, ReLU."""
        x = layers.BatchNormalization(momentum=self.momentum, epsilon=1e-3, name=f"{name}_norm")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    def unit(self, x: Any, filters: int, size: int, name: str, rank: int = 2, **options: Any) -> Any:
        """Convolution, batch normalization, ReLU."""
        return self.norm_relu(self.conv(filters, size, f"{name}_conv", rank, **options)(x), name)

    def double(self, x: Any, filters: int, name: str, rank: int = 2) -> Any:
        """Two units of size 3."""
        for number in (1, 2):
            x = self.unit(x, filters, 3, f"{name}_{number}", rank)
        return x


def probability(x: Any) -> Any:
    """The head: a lesion probability per pixel, float32 under every precision."""
    return layers.Conv2D(1, 1, activation="sigmoid", dtype="float32", name="probability")(x)
