"""The DAG, in one place and pure: `create_pipeline` reads and writes nothing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from tfx.components import ExampleValidator, Pusher, Trainer
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration import metadata
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import pusher_pb2, trainer_pb2

from components import pusher_executor
from components.anomaly_gate import AnomalyGate
from components.blesser import Blesser
from components.dataset_validator import DatasetValidator
from components.fold_gen import FoldGen
from components.fold_selector import FoldSelector
from components.fusion_evaluator import FusionEvaluator
from components.hyperparameters_gen import HyperparametersGen
from components.lesion_statistics_gen import LesionStatisticsGen
from components.nifti_example_gen import NiftiExampleGen
from components.release import Release
from components.report_gen import ReportGen
from components.slice_evaluator import SliceEvaluator
from components.statistics_gen import StatisticsGen
from lesions.slices import PLANES
from pipeline.config import BEAM_LOCAL, COMPARE, DATABASE, RECORDS, Config, dump
from pipeline.digests import CODE, code_digest

NAME = "raxnet"  # constant: TFX's cache is kept under it
GATE = "AnomalyGate"  # the last node before the trainings


@dataclass(frozen=True)
class RunTime:
    """What the user of a compiled pipeline sets when starting it: parameters of TFX, each used whole.

    Attributes:
        data: Folder of the data set.
        epochs: Of each training, at most.
        batch_size: Slices in a batch.
    """

    data: RuntimeParameter
    epochs: RuntimeParameter
    batch_size: RuntimeParameter

    def generator(self) -> BaseNode:
        """The node that hands the trainings their part."""
        code = code_digest("HyperparametersGen")
        return HyperparametersGen(epochs=self.epochs, batch_size=self.batch_size, code=code)


def create_pipeline(
    config: Config,
    data_digest: str,
    schema_file: str,
    sheet: str = "",
    sheet_digest: str = "",
    compared: str = "",
    run_time: RunTime | None = None,
) -> Pipeline:
    """Builds the pipeline of a configuration.

    Each component gets its own part of the configuration and a digest of its own code, so that a change re-runs
    what depends on it and nothing else.

    Args:
        config: Of the run.
        data_digest: Of the data set, computed beforehand: a component that always ran would void the cache.
        schema_file: The curated schema; another content must have another path, which is all that TFX looks at.
        sheet: The data set's metadata sheet; empty where there is none.
        sheet_digest: Of its content.
        compared: Digest of what `raxnet compare` has left; empty where it was not run.
        run_time: What the user of a compiled pipeline sets; None: all is the configuration's.

    Returns:
        A pipeline for any TFX runner.
    """
    data = run_time.data if run_time else str(config.data)
    validator = DatasetValidator(
        data=data,
        data_digest=data_digest,
        workers=config.processes,
        strict=int(config.strict),
        code=code_digest("DatasetValidator"),
    )
    manifest = validator.outputs["manifest"]
    statistics = LesionStatisticsGen(
        manifest=manifest, workers=config.processes, code=code_digest("LesionStatisticsGen")
    )
    folds = FoldGen(
        tables=statistics.outputs["tables"],
        folds=config.split.folds,
        holdout=config.split.holdout,
        seed=config.split.seed,
        code=code_digest("FoldGen"),
    )
    fold_map = folds.outputs["fold_map"]
    ingest = NiftiExampleGen(
        manifest=manifest,
        fold_map=fold_map,
        tables=statistics.outputs["tables"],
        store=str(config.root / RECORDS),
        record_code=code_digest("Records"),
        code=code_digest("NiftiExampleGen"),
    )
    nodes: list[BaseNode] = [validator, statistics, folds, ingest]

    gate, checks = _checks(config, ingest, schema_file)
    nodes += [*checks, gate]
    hyperparameters = None
    if run_time:
        nodes.append(run_time.generator())
        hyperparameters = nodes[-1].outputs["hyperparameters"]

    selectors: dict[str, BaseNode] = {}
    for plane in (p for p in PLANES if p in config.planes):
        trained, selectors[plane] = _plane(
            config, plane, ingest.outputs[f"examples_{plane}"], gate, hyperparameters
        )
        nodes += [*trained, selectors[plane]]

    models = {f"model_{p}": s.outputs["model"] for p, s in selectors.items()}
    selections = {f"selection_{p}": s.outputs["selection"] for p, s in selectors.items()}
    fusion = FusionEvaluator(
        manifest=manifest,
        fold_map=fold_map,
        data=data,
        rule=config.fusion.rule,
        threshold=config.fusion.threshold,
        flip=int(config.fusion.flip),
        seed=config.split.seed,
        code=code_digest("FusionEvaluator"),
        **models,
    )
    # Thresholds only here, behind everything that runs a model.
    blesser = Blesser(
        evaluation=fusion.outputs["evaluation"],
        slice_dice=config.gates.slice_dice,
        fused_dice=config.gates.fused_dice,
        released_drop=config.gates.released_drop,
        serving_models=str(config.serving_models),
        code=code_digest("Blesser"),
        **selections,
    )
    pushers = {p: _pusher(config, p, s, blesser) for p, s in selectors.items()}
    release = Release(
        evaluation=fusion.outputs["evaluation"],
        serving_models=str(config.serving_models),
        code=code_digest("Release"),
        **{f"pushed_{p}": pusher.outputs["pushed_model"] for p, pusher in pushers.items()},
    )
    report = ReportGen(
        manifest=manifest,
        tables=statistics.outputs["tables"],
        fold_map=fold_map,
        gate=gate.outputs["report"],
        evaluation=fusion.outputs["evaluation"],
        blessing=blesser.outputs["blessing"],
        release=release.outputs["release"],
        configuration=dump(config),
        metadata=sheet,
        metadata_digest=sheet_digest,
        comparisons=str(config.root / COMPARE),
        comparisons_digest=compared,
        code=code_digest("ReportGen"),
        versions=json.dumps({name: code_digest(name) for name in CODE}),
        **selections,
        **models,
    )
    nodes += [fusion, blesser, *pushers.values(), release, report]
    return Pipeline(
        pipeline_name=NAME,
        pipeline_root=str(config.root / "artifacts"),
        components=nodes,
        enable_cache=True,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(config.root / DATABASE)),
        beam_pipeline_args=list(config.beam or BEAM_LOCAL),
    )


def trainer_id(plane: str, fold: int) -> str:
    """Name of the node that trains a plane and validation fold."""
    return f"Trainer_{plane}_{fold}"


def evaluator_id(plane: str, fold: int) -> str:
    """Name of the node that evaluates it on that fold."""
    return f"SliceEvaluator_{plane}_{fold}"


def _checks(config: Config, ingest: BaseNode, schema_file: str) -> tuple[BaseNode, list[BaseNode]]:
    """Statistics of the records of all planes, against the curated schema, and the gate behind them."""
    schema = ImportSchemaGen(schema_file=schema_file)
    nodes: list[BaseNode] = [schema]
    found: dict[str, Any] = {}
    for plane in PLANES:
        statistics = StatisticsGen(
            examples=ingest.outputs[f"examples_{plane}"], schema=schema.outputs["schema"]
        ).with_id(f"StatisticsGen_{plane}")
        validator = ExampleValidator(
            statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
        ).with_id(f"ExampleValidator_{plane}")
        nodes += [statistics, validator]
        found[f"statistics_{plane}"] = statistics.outputs["statistics"]
        found[f"anomalies_{plane}"] = validator.outputs["anomalies"]
    gate = AnomalyGate(
        schema=schema.outputs["schema"],
        fold_drift=config.gates.fold_drift,
        code=code_digest("AnomalyGate"),
        **found,
    )
    return gate, nodes


def _plane(
    config: Config, plane: str, examples: Any, gate: BaseNode, hyperparameters: Any
) -> tuple[list[BaseNode], BaseNode]:
    """Trainer and SliceEvaluator of every fold of a plane, and the FoldSelector behind them."""
    nodes: list[BaseNode] = []
    inputs: dict[str, Any] = {}
    for fold in sorted(config.train_folds):
        trainer = _trainer(config, plane, fold, examples, hyperparameters)
        trainer.add_upstream_node(gate)
        evaluator = SliceEvaluator(
            model=trainer.outputs["model"],
            examples=examples,
            plane=plane,
            fold=fold,
            seed=config.split.seed,
            code=code_digest("SliceEvaluator"),
        ).with_id(evaluator_id(plane, fold))
        nodes += [trainer, evaluator]
        inputs[f"model_{fold}"] = trainer.outputs["model"]
        inputs[f"evaluation_{fold}"] = evaluator.outputs["evaluation"]
    selector = FoldSelector(
        plane=plane,
        rule=config.fusion.fold_rule,
        ensemble=config.fusion.ensemble,
        code=code_digest("FoldSelector"),
        **inputs,
    )
    return nodes, selector.with_id(f"FoldSelector_{plane}")


def _trainer(config: Config, plane: str, fold: int, examples: Any, hyperparameters: Any) -> BaseNode:
    others = [f"fold_{k}" for k in range(1, config.split.folds + 1) if k != fold]
    return Trainer(
        run_fn="trainer.run_fn.run_fn",
        examples=examples,
        hyperparameters=hyperparameters,
        train_args=trainer_pb2.TrainArgs(splits=others),
        eval_args=trainer_pb2.EvalArgs(splits=[f"fold_{fold}"]),
        custom_config={
            "plane": plane,
            "fold": fold,
            "settings": asdict(config.training),
            "checkpoints": str(config.root / "checkpoints"),
            "code": code_digest("Trainer"),
            "export_code": code_digest("Export"),
        },
    ).with_id(trainer_id(plane, fold))


def _pusher(config: Config, plane: str, selector: BaseNode, blesser: BaseNode) -> BaseNode:
    folder = pusher_pb2.PushDestination.Filesystem(base_directory=str(config.serving_models / plane))
    return Pusher(
        model=selector.outputs["model"],
        model_blessing=blesser.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(filesystem=folder),
        custom_executor_spec=executor_spec.ExecutorClassSpec(pusher_executor.Executor),
    ).with_id(f"Pusher_{plane}")
