"""FoldSelector: the best validated fold's model of one plane goes on to the fusion."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, channel_utils
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.types.standard_artifacts import Model, ModelBlessing, ModelEvaluation

from components import artifacts
from components.blessing import is_blessed
from components.slice_evaluator import read_summary
from lesions.progress import LOGGER
from trainer.job import HISTORY

MOST_FOLDS = 10
RULE = "highest mean of Dice, recall and precision over the validation slices (raxnet.md, 8)"
log = logging.getLogger(LOGGER)


class Executor(base_executor.BaseExecutor):
    """Compares the folds' summaries and copies the best model."""

    def Do(
        self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]
    ) -> None:
        """Writes the chosen model, its blessing, and the table that says why it was chosen."""
        folds = sorted(int(key.removeprefix("model_")) for key in input_dict if key.startswith("model_"))
        of = {(key, k): artifact_utils.get_single_instance(input_dict[f"{key}_{k}"])
              for k in folds for key in ("model", "evaluation", "blessing")}  # fmt: skip
        evaluations = {k: Path(of["evaluation", k].uri) for k in folds}
        table = score(evaluations, {k: is_blessed(of["blessing", k]) for k in folds})
        best = choose(table)
        log.info("%s: fold %d chosen of %s", exec_properties["plane"], best, ", ".join(map(str, folds)))
        shutil.copytree(
            of["model", best].uri, artifact_utils.get_single_uri(output_dict["model"]), dirs_exist_ok=True
        )
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        shutil.copytree(of["blessing", best].uri, blessing.uri, dirs_exist_ok=True)
        blessing.set_int_custom_property("blessed", int(is_blessed(of["blessing", best])))
        out = Path(artifact_utils.get_single_uri(output_dict["selection"]))
        out.mkdir(parents=True, exist_ok=True)
        for k in folds:
            shutil.copy(Path(of["model", k].uri) / "Format-Serving" / HISTORY, out / f"history_fold_{k}.csv")
            shutil.copytree(evaluations[k], out / f"fold_{k}", dirs_exist_ok=True)
        table.to_csv(out / "folds.csv", index=False)
        facts = {"plane": exec_properties["plane"], "fold": best, "rule": RULE}
        (out / "selection.json").write_text(json.dumps(facts, indent=2) + "\n")


def score(evaluations: dict[int, Path], blessed: dict[int, bool]) -> pd.DataFrame:
    """One row per fold: fold, dice, recall, precision, mean (published protocol), blessed."""
    rows = []
    for fold, folder in evaluations.items():
        published = read_summary(folder).set_index("protocol").loc["published"]
        scores = {name: float(published[name]) for name in ("dice", "recall", "precision")}
        rows.append({"fold": fold, **scores, "mean": sum(scores.values()) / 3, "blessed": blessed[fold]})
    return pd.DataFrame(rows)


def choose(table: pd.DataFrame) -> int:
    """The fold of the highest mean among the blessed ones, or among all where none is; ties go to the lower fold."""
    eligible = table[table["blessed"]] if table["blessed"].any() else table
    return int(eligible.sort_values(["mean", "fold"], ascending=[False, True])["fold"].iloc[0])


class FoldSelectorSpec(ComponentSpec):
    """A named input per fold: Kubeflow cannot take a union of channels."""

    PARAMETERS = {"plane": ExecutionParameter(type=str), "code": ExecutionParameter(type=str)}  # noqa: RUF012
    INPUTS = {  # noqa: RUF012
        f"{key}_{k}": ChannelParameter(type=kind, optional=True)
        for k in range(1, MOST_FOLDS + 1)
        for key, kind in (("model", Model), ("evaluation", ModelEvaluation), ("blessing", ModelBlessing))
    }
    OUTPUTS = {  # noqa: RUF012
        "model": ChannelParameter(type=Model),
        "blessing": ChannelParameter(type=ModelBlessing),
        "selection": ChannelParameter(type=artifacts.Selection),
    }


class FoldSelector(base_component.BaseComponent):
    """Chooses among the trained folds of one plane."""

    SPEC_CLASS = FoldSelectorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, plane: str, code: str, **inputs: Any):
        """Args: plane: axial, sagittal or coronal. code: Digest. inputs: model_k, evaluation_k, blessing_k per fold."""
        outputs = {
            "model": channel_utils.as_channel([Model()]),
            "blessing": channel_utils.as_channel([ModelBlessing()]),
            "selection": channel_utils.as_channel([artifacts.Selection()]),
        }
        super().__init__(spec=FoldSelectorSpec(plane=plane, code=code, **inputs, **outputs))
