"""A finished run in seconds: the components' own functions on a small phantom, tiny models instead of training."""

import json
from pathlib import Path

import pandas as pd
from tfx.types import standard_artifacts

from components import artifacts, report_gen
from components.anomaly_gate import COLUMNS
from components.blesser import Blesser
from components.dataset_validator import DatasetValidator
from components.fold_gen import FoldGen
from components.fold_selector import Executor
from components.fusion_evaluator import FusionEvaluator
from components.lesion_statistics_gen import LesionStatisticsGen
from components.release import Release
from components.slice_evaluator import SLICES, SUBJECTS, SUMMARY, subject_scores, summarize
from lesions.files import write_csv
from lesions.grid import template_grid
from lesions.phantom import make_cohort
from lesions.push import push
from lesions.slices import PLANES
from lesions.summaries import PUBLISHED, protocols
from pipeline.config import Config, dump
from reports.report import PAGE
from tests.components.conftest import make_counts
from tests.serving.conftest import make_card, save_model
from trainer.job import HISTORY

FOLDS = (1, 2)
GRID = template_grid(6.0)


def called(component, **arguments):
    """Runs a function component as TFX does, without TFX."""
    return component.EXECUTOR_SPEC.executor_class._FUNCTION(code="c", **arguments)


def artifact(kind, folder):
    made = kind()
    made.uri = str(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return made


class SmallRun:
    """The artifacts of a run of three planes and two folds, below `root`; `write_page` writes the page of it."""

    def __init__(self, root: Path):
        self.root = root
        self.config = Config(data=root / "data", root=root, train_folds=FOLDS)
        make_cohort(root / "data", 20, seed=4, spacing=6.0, workers=1)
        self.made = {}
        data = {"data": str(root / "data"), "data_digest": "digest-of-the-data"}
        self._run(DatasetValidator, "manifest", artifacts.Manifest, **data, workers=1, strict=0)
        self._run(
            LesionStatisticsGen, "tables", artifacts.LesionTables, manifest=self.made["manifest"], workers=1
        )
        split = {"folds": 3, "holdout": 0.3, "seed": 0}
        self._run(FoldGen, "fold_map", artifacts.FoldMap, tables=self.made["tables"], **split)
        self._checks()
        for plane in PLANES:
            self._select(plane)
        known = {name: self.made[name] for name in ("manifest", "fold_map")}
        models = {f"model_{p}": self.made[f"model_{p}"] for p in PLANES}
        fused = {"data": data["data"], "rule": "mean", "threshold": 0.5, "flip": 0, "seed": 0}
        self._run(FusionEvaluator, "evaluation", artifacts.FusionEvaluation, **known, **models, **fused)
        self._release({f"selection_{p}": self.made[f"selection_{p}"] for p in PLANES})

    def _run(self, component, output, kind, **arguments):
        self.made[output] = artifact(kind, self.root / output)
        called(component, **arguments, **{output: self.made[output]})

    def _checks(self):
        """Of the AnomalyGate, whose statistics would take TFX's own components."""
        self.made["gate"] = artifact(artifacts.GateReport, self.root / "gate")
        rows = pd.DataFrame([(p, "fold_1", "(all)", "") for p in PLANES], columns=COLUMNS)
        for name in ("anomalies.csv", "drift.csv"):
            write_csv(self.root / "gate" / name, rows)

    def _select(self, plane):
        inputs = {}
        for fold in FOLDS:
            counts = make_counts(fold=fold, plane=plane, skill=0.5 + 0.1 * fold)
            counts["published"] = counts.index.isin(protocols(counts, 0)[PUBLISHED].index).astype(int)
            subjects = subject_scores(counts, GRID)
            evaluation = artifact(
                standard_artifacts.ModelEvaluation, self.root / f"evaluation_{plane}_{fold}"
            )
            for name, frame in (
                (SLICES, counts),
                (SUBJECTS, subjects),
                (SUMMARY, summarize(counts, subjects, 0)),
            ):
                write_csv(Path(evaluation.uri) / name, frame)
            model = artifact(standard_artifacts.Model, self.root / f"trained_{plane}_{fold}")
            save_model(Path(model.uri) / "Format-Serving", plane, GRID)
            make_card(plane, GRID, fold=fold).write(Path(model.uri) / "Format-Serving")
            history = (
                "epoch,loss,val_loss,val_dice,seconds\n1,1.0,1.1,0.2,3\n2,0.7,0.9,0.4,3\n3,0.6,1.0,0.3,3\n"
            )
            (Path(model.uri) / "Format-Serving" / HISTORY).write_text(history)
            inputs |= {f"model_{fold}": [model], f"evaluation_{fold}": [evaluation]}
        kinds = {"model": standard_artifacts.Model, "selection": artifacts.Selection}
        outputs = {name: artifact(kind, self.root / f"{name}_{plane}") for name, kind in kinds.items()}
        settings = {"plane": plane, "rule": "mean", "ensemble": "best", "code": "c"}
        Executor().Do(inputs, {name: [made] for name, made in outputs.items()}, settings)
        self.made |= {f"{name}_{plane}": made for name, made in outputs.items()}

    def _release(self, selections):
        models = str(self.root / "serving_models")
        gates = {"slice_dice": 0.0, "fused_dice": 0.0, "released_drop": 0.01, "serving_models": models}
        evaluation = self.made["evaluation"]
        self._run(
            Blesser,
            "blessing",
            standard_artifacts.ModelBlessing,
            evaluation=evaluation,
            **gates,
            **selections,
        )
        pushed = {}
        for plane in PLANES:
            folder = Path(self.made[f"model_{plane}"].uri) / "Format-Serving"
            version = push(folder, Path(models) / plane)
            pushed[f"pushed_{plane}"] = artifact(
                standard_artifacts.PushedModel, self.root / f"pushed_{plane}"
            )
            destination = str(Path(models) / plane / str(version))
            pushed[f"pushed_{plane}"].set_string_custom_property("pushed_destination", destination)
        self._run(
            Release,
            "release",
            artifacts.ReleaseRecord,
            evaluation=evaluation,
            serving_models=models,
            **pushed,
        )

    def write_page(self) -> Path:
        """Runs ReportGen; returns the page."""
        names = ("manifest", "tables", "fold_map", "gate", "evaluation", "blessing", "release")
        planes = [f"{kind}_{plane}" for kind in ("selection", "model") for plane in PLANES]
        report = artifact(artifacts.Report, self.root / "report")
        called(
            report_gen.ReportGen,
            **{name: self.made[name] for name in (*names, *planes)},
            report=report,
            configuration=dump(self.config),
            versions=json.dumps({"Trainer": "digest-of-the-trainer"}),
        )
        return Path(report.uri) / PAGE
