"""TFX's entry point; it reloads this module for every Trainer, so nothing else lives here."""

from __future__ import annotations

from pathlib import Path

from tfx.components.trainer.fn_args_utils import FnArgs

from trainer import job
from trainer.settings import from_dict


def run_fn(fn_args: FnArgs) -> None:
    """Trains one plane and fold as `custom_config` says.

    Args:
        fn_args: TFX's arguments. The splits' patterns `<examples>/Split-fold_<k>/*` name the folds;
            `custom_config` holds plane, fold, settings, checkpoints and code (see `trainer.job.Training`);
            `hyperparameters`, where there are any, go before those settings.
    """
    config = fn_args.custom_config
    splits = [Path(pattern).parent for pattern in fn_args.train_files]
    training = job.Training(
        examples=splits[0].parent,
        plane=config["plane"],
        fold=config["fold"],
        training_folds=tuple(int(split.name.rsplit("_", 1)[1]) for split in splits),
        settings=from_dict(config["settings"] | (fn_args.hyperparameters or {})),
        checkpoints=Path(config["checkpoints"]),
        code=config["code"],
    )
    job.export(training, *job.train(training), Path(fn_args.serving_model_dir))
