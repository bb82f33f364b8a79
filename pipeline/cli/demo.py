"""raxnet demo: phantom data set -> whole pipeline -> fused masks of the hold-out -> report.html."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

HELP = "the whole system on a phantom data set, a few minutes on two processor cores"
EXAMPLE = "raxnet demo --out demo"
SUBJECTS, SPACING = 220, 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `raxnet demo`."""
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), help="folder for everything (default: ./demo)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of phantom, split and training (default: 0)")
    parser.add_argument(
        "--subjects", type=int, default=SUBJECTS, help=f"fewer: quicker and worse (default: {SUBJECTS})"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the demo; what is done already is not done again."""
    start = time.monotonic()
    from lesions.phantom import make_cohort
    from lesions.progress import to_log
    from pipeline import config, console, local_runner
    from pipeline.memory import PeakMemory

    out = local_runner.writable(args.out.resolve())
    data, settings = out / "data", out / "config.yaml"
    with PeakMemory() as memory:
        make_cohort(data, args.subjects, args.seed, SPACING, progress=to_log("making the phantom"))
        _configure(settings, data, out, args.seed)
        done = local_runner.run(config.load(settings))
        with console.logged(done.log):  # TensorFlow goes on talking as it began
            masks = _publish_masks(out)
    _tell(out, masks, done.report)
    print(
        f"{time.monotonic() - start:.0f} s, {memory.peak / 1e9:.1f} GB of memory at most, all processes together"
    )
    return 0


def _configure(settings: Path, data: Path, out: Path, seed: int) -> None:
    """Writes the demo's configuration once; edits of it are kept."""
    from lesions.files import write_text
    from pipeline.cli.init import text

    if not settings.exists():
        write_text(settings, text("demo", data, out, seed))


def _publish_masks(out: Path) -> Path:
    """Puts the hold-out's masks, which the run has written already, where a person looks for them."""
    from components.fusion_evaluator import DERIVATIVE
    from pipeline import local_runner
    from serving import derivative
    from serving.predictor import open_models

    written = local_runner.newest(out, "FusionEvaluator/evaluation", "summary.csv").parent / DERIVATIVE
    models = out / "serving_models"
    derivative.publish(written, out / "masks", open_models(models) if models.is_dir() else None)
    return out / "masks"


def _tell(out: Path, masks: Path, report: Path | None) -> None:
    import pandas as pd

    from pipeline import local_runner
    from reports.tables import text_table

    summary = pd.read_csv(local_runner.newest(out, "FusionEvaluator/evaluation", "summary.csv"))
    print("\nHold-out of the phantom, 3-D scores per subject (phantom figures, not ATLAS's):\n")
    print(text_table(summary))
    print(f"\nreport  {report}\nmasks   {masks}\nmodels  {out / 'serving_models'}")
