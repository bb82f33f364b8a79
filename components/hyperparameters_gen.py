"""HyperparametersGen: what a compiled pipeline lets its user set of the trainings, as TFX's Trainer takes it."""

import json
from pathlib import Path

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import HyperParameters

from lesions.files import write_text
from trainer.settings import TrainingSettings

FILE = "hyperparameters.json"


@component
def HyperparametersGen(
    hyperparameters: OutputArtifact[HyperParameters],
    epochs: Parameter[int],
    batch_size: Parameter[int],
    code: Parameter[str],
) -> None:
    """Writes the numbers that override those of the configuration.

    Args:
        hyperparameters: Written: one file, JSON.
        epochs: At most.
        batch_size: Slices in a batch.
        code: Digest of the code that does this.
    """
    content = {"epochs": epochs, "batch_size": batch_size}
    TrainingSettings(**content)  # checks them, before anything is trained
    write_text(Path(hyperparameters.uri) / FILE, json.dumps(content))
