"""Digests of the code behind each component: TFX's cache knows inputs and parameters, but not code."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "schema" / "schema.pbtxt"

DATA = ("lesions/errors.py", "lesions/grid.py", "lesions/nifti.py", "lesions/dataset.py")
RECORDS = (*DATA, "lesions/slices.py", "lesions/statistics.py", "lesions/ingest.py", "trainer/records.py")
SUMMARIES = (
    "lesions/metrics.py",
    "lesions/statistics.py",  # size categories
    "lesions/bootstrap.py",
    "lesions/summaries.py",
    "lesions/files.py",
)
MEASURES = (
    "lesions/slices.py",
    "lesions/components.py",
    "lesions/template.py",
    "lesions/location.py",
    "lesions/places.py",
    "lesions/frequency.py",
    "lesions/statistics.py",
)
CODE = {
    "DatasetValidator": (
        *DATA,
        "lesions/mni.py",
        "lesions/checks.py",
        "lesions/manifest.py",
        "components/dataset_validator.py",
    ),
    "LesionStatisticsGen": (
        *DATA,
        *MEASURES,
        "components/lesion_statistics_gen.py",
    ),
    "FoldGen": (
        "lesions/statistics.py",
        "lesions/balance.py",
        "lesions/folds.py",
        "components/fold_gen.py",
    ),
    "Records": RECORDS,
    "NiftiExampleGen": (
        *RECORDS,
        "trainer/record_store.py",
        "components/record_counts.py",
        "components/nifti_example_gen.py",
    ),
    "HyperparametersGen": ("components/hyperparameters_gen.py",),
    "AnomalyGate": ("components/anomaly_gate.py",),
    "Trainer": (
        "lesions/slices.py",
        "lesions/batches.py",
        "trainer/records.py",
        "trainer/input.py",
        "trainer/augment.py",
        "trainer/fit.py",
        "trainer/losses.py",
        "trainer/optimizers.py",
        "trainer/replicas.py",
        "trainer/statistics.py",
        "trainer/steps.py",
        "trainer/workers.py",
        "trainer/networks",
    ),
    "Export": ("trainer/signatures.py", "trainer/rearrange.py", "trainer/warmup.py", "trainer/job.py"),
    "SliceEvaluator": (
        *SUMMARIES,
        "trainer/input.py",
        "trainer/records.py",
        "trainer/evaluate.py",
        "components/slice_evaluator.py",
        "components/tfma_evaluation.py",
    ),
    "FoldSelector": (
        "lesions/provenance.py",
        "trainer/signatures.py",
        "trainer/warmup.py",
        "trainer/ensemble.py",
        "components/baseline.py",
        "components/fold_selector.py",
    ),
    "FusionEvaluator": (
        *SUMMARIES,
        *DATA,
        "lesions/slices.py",
        "lesions/ingest.py",
        "lesions/provenance.py",
        "lesions/mni.py",
        "lesions/fusion.py",
        "lesions/box.py",
        "lesions/lesionwise.py",
        "lesions/surface.py",
        "lesions/scoring.py",
        "lesions/calibration.py",
        "lesions/significance.py",
        "serving/segmenter.py",
        "serving/registration.py",
        "serving/predictor.py",
        "serving/bids.py",
        "serving/bids_app.py",
        "serving/derivative.py",
        "serving/sidecar.py",
        "components/holdout.py",
        "components/fusion_evaluator.py",
    ),
    "Blesser": (
        "lesions/metrics.py",
        "components/baseline.py",
        "components/blessing.py",
        "serving/releases.py",
        "components/blesser.py",
    ),
    "Release": ("serving/releases.py", "components/release.py"),
    "ReportGen": (
        "reports",
        "lesions/metadata.py",
        "lesions/spreadsheet.py",
        "lesions/places.py",
        "lesions/batches.py",
        "lesions/version.py",
        "components/report_content.py",
        "components/report_lineage.py",
        "components/report_gen.py",
    ),
}


@cache
def code_digest(*names: str) -> str:
    """SHA-256 over the files that do the work of some components, shortened to 16 digits.

    Args:
        names: Keys of `CODE`.
    """
    digest = hashlib.sha256()
    for entry in sorted({entry for name in names for entry in CODE[name]}):
        path = ROOT / entry
        files = (
            [path]
            if path.is_file()
            else sorted(p for p in path.rglob("*") if p.suffix in (".py", ".j2", ".css"))
        )
        if not files:
            raise FileNotFoundError(path)
        for file in files:
            digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]
