"""raxnet compile: the pipeline for Kubeflow."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write the pipeline of a configuration for Kubeflow Pipelines"
EXAMPLE = "raxnet compile atlas.yaml pipeline.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `raxnet compile`."""
    parser.add_argument(
        "config", type=Path, help="YAML file; its part `kubeflow` says image, storage and resources"
    )
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="YAML file, as Kubeflow's page and client take it"
    )


def run(args: argparse.Namespace) -> int:
    """Compiles the pipeline."""
    from pipeline import config, kubeflow_runner, local_runner

    settings = config.load(args.config)
    local_runner.check_names(settings.training)
    spec = kubeflow_runner.compile_pipeline(settings, args.out)
    parameters = ", ".join(sorted(spec["root"]["inputDefinitions"]["parameters"]))
    print(f"{args.out}: {len(spec['root']['dag']['tasks'])} steps; parameters: {parameters}")
    return 0
