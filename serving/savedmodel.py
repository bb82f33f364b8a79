"""A SavedModel opened to answer quickly: its weights become constants, which TensorFlow packs and simplifies once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from serving import device

Run = Callable[[Mapping[str, Any]], dict[str, Any]]


class SavedModel:
    """The signatures of one model, each made quick when it is first asked."""

    def __init__(self, folder: Path):
        """Loads it. Raises one of TensorFlow's dozen errors where it is damaged."""
        self._model = device.tensorflow().saved_model.load(str(folder))
        self._quick: dict[str, Run] = {}

    def signature(self, name: str) -> Any:
        """A signature as it was saved. Raises KeyError."""
        return self._model.signatures[name]

    def run(self, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Tensors by output name, of tensors by input name. Raises as TensorFlow does."""
        if name not in self._quick:
            self._quick[name] = _with_constants(self.signature(name))
        return self._quick[name](inputs)


def _with_constants(signature: Any) -> Run:
    """The signature with its variables' values; itself where it holds on to other things, such as tables.

    Of RAX-Net this takes a tenth of the time in float32, a quarter in bfloat16 (`benchmarks/serving.py`), and changes
    nothing but the last digits: batch normalization's factors are then computed once, not for each call.
    """
    handles = {id(variable.handle) for variable in signature.variables}
    if {id(captured) for captured in signature.captured_inputs} != handles:
        return lambda inputs: signature(**inputs)
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(signature)
    taken, given = sorted(signature.structured_input_signature[1]), sorted(signature.structured_outputs)

    def run(inputs: Mapping[str, Any]) -> dict[str, Any]:
        return dict(zip(given, frozen(*[inputs[name] for name in taken]), strict=True))

    return run
