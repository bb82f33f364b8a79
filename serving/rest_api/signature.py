"""A model's signatures as plain data, their JSON, and whether a tensor fits them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serving.rest_api.errors import invalid

DEFAULT = "serving_default"


@dataclass(frozen=True)
class TensorInfo:
    """One input or output.

    Attributes:
        dtype: TensorFlow's name of it, DT_FLOAT.
        shape: -1 for any length; None where even the rank is open.
        name: Of the tensor in the graph.
    """

    dtype: str
    shape: tuple[int, ...] | None
    name: str = ""

    @property
    def kind(self) -> str:
        """The dtype as messages have it: float, int32, string."""
        return self.dtype.removeprefix("DT_").lower()

    def as_json(self) -> dict[str, Any]:
        """As the metadata has it."""
        dims = [{"size": str(size), "name": ""} for size in self.shape or ()]
        shape = {"dim": dims, "unknown_rank": self.shape is None}
        return {"dtype": self.dtype, "tensor_shape": shape, "name": self.name}


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs by their names, sorted, and the method's name."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    method_name: str = "tensorflow/serving/predict"

    def as_json(self) -> dict[str, Any]:
        """As the metadata has it."""
        return {
            "inputs": {name: info.as_json() for name, info in self.inputs.items()},
            "outputs": {name: info.as_json() for name, info in self.outputs.items()},
            "method_name": self.method_name,
            "defaults": {},
        }


def metadata(model: str, version: int, signatures: dict[str, Signature]) -> dict[str, Any]:
    """The answer to a request for a model's metadata (docs/spec/tensorflow_serving.md#status-and-metadata)."""
    described = {name: signature.as_json() for name, signature in signatures.items()}
    return {
        "model_spec": {"name": model, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": described}},
    }


def check_shape(name: str, shape: tuple[int, ...], info: TensorInfo) -> None:
    """Raises RestError where a tensor has another rank or another fixed dimension than the signature."""
    if info.shape is None:
        return
    fits = len(shape) == len(info.shape) and all(
        wanted in (-1, n) for wanted, n in zip(info.shape, shape, strict=True)
    )
    if not fits:
        raise invalid(f"Input {name}: expecting shape {shape_text(info.shape)} but got: {shape_text(shape)}")


def shape_text(shape: tuple[int, ...]) -> str:
    """[2,3]; ? for any length."""
    return "[" + ",".join("?" if n == -1 else str(n) for n in shape) + "]"
