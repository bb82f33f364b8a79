"""What a caller may choose: one table, which the requests, the API's description and its page are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from typing import Any

from serving import registration
from serving.gateway.refusal import Refusal
from serving.segmenter import RULES

NONE = "none"
# Where SimpleITK is not installed, there is nothing to choose.
REGISTER = (NONE, *registration.METHODS) if find_spec("SimpleITK") else (NONE,)
OUTPUTS = ("mask", "probability", "planes", "summary", "all")
GRIDS = ("native", "template")


@dataclass(frozen=True)
class Option:
    """One option of a request.

    Attributes:
        default: Its value where it is not given; its type is the option's.
        meaning: One sentence.
        choices: The values it may have, where they are names.
    """

    default: Any
    meaning: str
    choices: tuple[str, ...] = ()

    def schema(self) -> dict[str, Any]:
        """As OpenAPI has it."""
        if self.choices:
            return {"type": "string", "enum": list(self.choices), "default": self.default}
        if isinstance(self.default, bool):
            return {"type": "boolean", "default": self.default}
        limits = {"exclusiveMinimum": 0, "exclusiveMaximum": 1}
        return {"type": "number", **limits, "default": self.default}

    def parse(self, name: str, text: str) -> Any:
        """The value of a text. Raises Refusal (400)."""
        if self.choices:
            if text in self.choices:
                return text
            if name == "register" and text in registration.METHODS:
                raise Refusal(
                    400, f"register: this server cannot ({text} needs SimpleITK there, the extra `register`)"
                )
            raise Refusal(400, f"{name}: expected {' or '.join(self.choices)}, found {text[:50]!r}")
        if isinstance(self.default, bool):
            if text.lower() in ("true", "false", "1", "0"):
                return text.lower() in ("true", "1")
            raise Refusal(400, f"{name}: expected true or false, found {text[:50]!r}")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 < value < 1:
            raise Refusal(400, f"{name}: expected a number above 0 and below 1, found {text[:50]!r}")
        return value


OPTIONS = {
    "grid": Option("native", "Grid of the images: the scan's own, or the models'", GRIDS),
    "rule": Option("mean", "Fusion of the planes: mean of probabilities, or majority of masks", tuple(RULES)),
    "threshold": Option(0.5, "A voxel is lesion where the probability reaches it"),
    "flip": Option(False, "Average with the scan mirrored left to right; takes twice the time"),
    "register": Option(NONE, "Lay a scan that is not in MNI space onto the template first", REGISTER),
    "strict": Option(False, "Refuse a scan that is not in MNI space (422) instead of warning"),
}
OUTPUT = Option("mask", "What to answer with; all: a zip of everything", OUTPUTS)


@dataclass(frozen=True)
class Options:
    """The values of `OPTIONS` for one scan."""

    grid: str = "native"
    rule: str = "mean"
    threshold: float = 0.5
    flip: bool = False
    register: str = NONE
    strict: bool = False

    @property
    def method(self) -> str | None:
        """How the scan is registered; None: not."""
        return None if self.register == NONE else self.register

    def as_json(self) -> dict[str, Any]:
        """For summaries and jobs."""
        return asdict(self)


def parse(given: Mapping[str, str]) -> Options:
    """The options of a query or form.

    Args:
        given: Name to text; names that are none of ours are refused, lest a misspelt one be passed over.

    Raises:
        Refusal: 400, an unknown name or a bad value.
    """
    for name in given:
        if name not in OPTIONS:
            raise Refusal(400, f"{name[:50]!r} is no option; known: {', '.join(OPTIONS)}")
    return Options(**{name: OPTIONS[name].parse(name, text) for name, text in given.items()})


def from_json(content: Mapping[str, Any]) -> Options:
    """The options of a job's file."""
    return Options(**{field.name: content[field.name] for field in fields(Options)})
