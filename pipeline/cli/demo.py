"""raxnet demo: phantom data set -> whole pipeline -> fused masks of the hold-out -> report.html."""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

HELP = "the whole system on a phantom data set, a few minutes on two processor cores"
EXAMPLE = "raxnet demo --out demo"
SUBJECTS, SPACING = 250, 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `raxnet demo`."""
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), help="folder for everything (default: ./demo)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of phantom, split and training (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Runs the demo; what is done already is not done again."""
    start = time.monotonic()
    from lesions.phantom import make_cohort
    from lesions.progress import to_log
    from pipeline import config, console, local_runner

    out = local_runner.writable(args.out.resolve())
    data, settings = out / "data", out / "config.yaml"
    make_cohort(data, SUBJECTS, seed=args.seed, spacing=SPACING, progress=to_log("making the phantom"))
    _configure(settings, data, out, args.seed)
    done = local_runner.run(config.load(settings))
    with console.logged(done.log):  # TensorFlow goes on talking as it began
        masks = _segment(data, out)
    _tell(out, masks, done.report, time.monotonic() - start)
    return 0


def _configure(settings: Path, data: Path, out: Path, seed: int) -> None:
    """Writes the demo's configuration once; edits of it are kept."""
    from lesions.files import write_text
    from pipeline.cli.init import text

    if not settings.exists():
        write_text(settings, text("demo", data, out, seed))


def _segment(data: Path, out: Path) -> Path:
    """Segments the hold-out's scans with the pushed models, as `raxnet segment` does."""
    import pandas as pd

    from lesions.errors import WorkError
    from lesions.progress import to_log
    from pipeline import local_runner
    from serving import bids, bids_app
    from serving.predictor import open_models

    folds = pd.read_csv(local_runner.newest(out, "FoldGen/fold_map", "folds.csv"))
    held_out = folds.loc[folds["fold"] == 0, "subject"].tolist()
    target = out / "masks"
    models, scans = open_models(out / "serving_models"), bids.find_scans([data], held_out)
    outcomes = list(bids_app.participant(scans, target, models, progress=to_log("segmenting the hold-out")))
    failed = [outcome.error for outcome in outcomes if outcome.error]
    if failed:
        raise WorkError(f"{len(failed)} of {len(outcomes)} scans of the hold-out failed: {failed[0]}")
    return target


def _tell(out: Path, masks: Path, report: Path | None, seconds: float) -> None:
    import pandas as pd

    from pipeline import local_runner
    from reports.tables import text_table

    summary = pd.read_csv(local_runner.newest(out, "FusionEvaluator/evaluation", "summary.csv"))
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    unit = 2**30 if sys.platform == "darwin" else 2**20  # ru_maxrss is in bytes there, in KiB elsewhere
    print("\nHold-out of the phantom, 3-D scores per subject (phantom figures, not ATLAS's):\n")
    print(text_table(summary))
    print(f"\nreport  {report}\nmasks   {masks}\nmodels  {out / 'serving_models'}")
    print(f"{seconds:.0f} s, largest process {peak / unit:.1f} GB")
