"""Where Beam pipelines run, kept out of TFX's cache keys: records and statistics are the same on every runner."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

ENVIRONMENT = (
    "RAXNET_BEAM"  # environment variable: Beam's arguments as a JSON list; unset: those of the pipeline
)


def set_arguments(arguments: Sequence[str]) -> None:
    """Makes the executors of this process use these arguments of Beam, instead of those compiled into the pipeline."""
    os.environ[ENVIRONMENT] = json.dumps(list(arguments))


class WithArguments:
    """Mixed into a Beam executor, before its base: takes the arguments that `set_arguments` set."""

    def __init__(self, context: Any = None):
        """Args: context: Of TFX."""
        given = os.environ.get(ENVIRONMENT)
        if given and context is not None:
            context.beam_pipeline_args = json.loads(given)
        super().__init__(context)  # type: ignore[call-arg]
