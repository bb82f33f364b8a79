"""FoldSelector: the best validated fold's model of one plane goes on to the fusion, or the mean of all folds'."""

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, channel_utils
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.types.standard_artifacts import Model, ModelEvaluation

from components import artifacts
from components.baseline import VALIDATION
from components.slice_evaluator import SLICES, SUBJECTS, SUMMARY
from lesions.files import read_table, write_csv, write_text
from lesions.progress import LOGGER
from lesions.provenance import read_card
from serving.predictor import folder_digest
from trainer.ensemble import export_ensemble
from trainer.job import HISTORY

MOST_FOLDS = 10
SELECTION, FOLDS = "selection.json", "folds.csv"
RULES = {
    # The method's own rule (docs/spec/method.md#training).
    "mean": "highest mean of Dice, recall and precision over the published protocol's slices",
    "lesion_dice": "highest mean Dice of the lesion slices, unsmoothed",
    "dice_3d": "highest mean 3-D Dice of the validation fold's subjects",
}
log = logging.getLogger(LOGGER)


class Executor(base_executor.BaseExecutor):
    """Compares the folds' summaries and writes the plane's model."""

    def Do(
        self, input_dict: dict[str, Any], output_dict: dict[str, Any], exec_properties: dict[str, Any]
    ) -> None:
        """Writes the chosen model, and the tables that say why it was chosen."""
        folds = sorted(int(key.removeprefix("model_")) for key in input_dict if key.startswith("model_"))
        of = {(key, k): Path(artifact_utils.get_single_uri(input_dict[f"{key}_{k}"]))
              for k in folds for key in ("model", "evaluation")}  # fmt: skip
        plane, rule, ensemble = (exec_properties[name] for name in ("plane", "rule", "ensemble"))
        table = score({k: of["evaluation", k] for k in folds}, rule)
        best = choose(table)
        members = folds if ensemble == "all" else [best]
        log.info("%s: fold %s of %s goes on", plane, _list(members), _list(folds))
        out = Path(artifact_utils.get_single_uri(output_dict["selection"]))
        for k in folds:
            _keep(of["model", k], of["evaluation", k], out, k)
        write_csv(out / FOLDS, table)
        model = Path(artifact_utils.get_single_uri(output_dict["model"])) / "Format-Serving"
        _write_model([of["model", k] / "Format-Serving" for k in members], read_counts(out), model)
        facts = {
            "plane": plane,
            "fold": best,
            "members": members,
            "ensemble": ensemble,
            "rule": RULES[rule],
            "fold_map": read_card(model).fold_map,
            "sha256": folder_digest(model),
        }
        write_text(out / SELECTION, json.dumps(facts, indent=2) + "\n")


def score(evaluations: dict[int, Path], rule: str) -> pd.DataFrame:
    """One row per fold: what each rule looks at, and as `score` what the given one does."""
    rows = []
    for fold, folder in evaluations.items():
        summary = pd.read_csv(folder / SUMMARY).set_index("metric")
        row = {
            "fold": fold,
            **{name: float(summary.loc[name, "published_mean"]) for name in ("dice", "recall", "precision")},
        }
        row["mean"] = (row["dice"] + row["recall"] + row["precision"]) / 3
        row["lesion_dice"] = float(summary.loc["dice", "lesion_mean"])
        row["dice_3d"] = float(summary.loc["dice", "subjects_mean"])
        rows.append({**row, "score": row[rule]})
    return pd.DataFrame(rows)


def choose(table: pd.DataFrame) -> int:
    """The fold of the highest score; ties go to the lower fold."""
    return int(table.sort_values(["score", "fold"], ascending=[False, True])["fold"].iloc[0])


def read_selection(folder: Path) -> dict[str, Any]:
    """Which folds were chosen, by which rule: the content of selection.json."""
    return dict(json.loads((folder / SELECTION).read_text()))


def read_counts(folder: Path) -> pd.DataFrame:
    """The validation counts of every fold in a Selection: fold, then the columns of slices.csv."""
    parts = []
    for path in sorted(folder.glob("fold_*")):
        part = read_table(path / SLICES)
        part.insert(0, "fold", int(path.name.removeprefix("fold_")))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _keep(model: Path, evaluation: Path, out: Path, fold: int) -> None:
    folder = out / f"fold_{fold}"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(model / "Format-Serving" / HISTORY, out / f"history_fold_{fold}.csv")
    for name in (SLICES, SUBJECTS, SUMMARY):
        shutil.copy(evaluation / name, folder / name)


def _write_model(members: Sequence[Path], counts: pd.DataFrame, output: Path) -> None:
    """Copies the one model or averages several, and puts the counts of their own validation folds into it."""
    if len(members) == 1:
        shutil.copytree(members[0], output, dirs_exist_ok=True)
    else:
        export_ensemble(members, output)
    own = counts[counts["fold"].isin([read_card(folder).fold for folder in members])]
    (output / VALIDATION).parent.mkdir(exist_ok=True)
    own.to_parquet(output / VALIDATION, index=False)


def _list(folds: Sequence[int]) -> str:
    return ", ".join(map(str, folds))


class FoldSelectorSpec(ComponentSpec):
    """A named input per fold: Kubeflow cannot take a union of channels."""

    PARAMETERS = {  # noqa: RUF012
        name: ExecutionParameter(type=str) for name in ("plane", "rule", "ensemble", "code")
    }
    INPUTS = {  # noqa: RUF012
        f"{key}_{k}": ChannelParameter(type=kind, optional=True)
        for k in range(1, MOST_FOLDS + 1)
        for key, kind in (("model", Model), ("evaluation", ModelEvaluation))
    }
    OUTPUTS = {  # noqa: RUF012
        "model": ChannelParameter(type=Model),
        "selection": ChannelParameter(type=artifacts.Selection),
    }


class FoldSelector(base_component.BaseComponent):
    """Chooses among the trained folds of one plane, or averages them."""

    SPEC_CLASS = FoldSelectorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, plane: str, rule: str, ensemble: str, code: str, **inputs: Any):
        """Makes the node.

        Args:
            plane: axial, sagittal or coronal.
            rule: mean, lesion_dice or dice_3d.
            ensemble: best or all.
            code: Digest of the code that does this.
            inputs: model_k and evaluation_k of each fold.
        """
        outputs = {
            "model": channel_utils.as_channel([Model()]),
            "selection": channel_utils.as_channel([artifacts.Selection()]),
        }
        spec = FoldSelectorSpec(plane=plane, rule=rule, ensemble=ensemble, code=code, **inputs, **outputs)
        super().__init__(spec=spec)
