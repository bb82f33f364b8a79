"""What a finished run left, gathered for its page; each figure is read from the table that a component wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from components.blesser import GATES
from components.fold_selector import read_selection
from components.fusion_evaluator import DERIVATIVE
from components.report_lineage import lineage
from components.slice_evaluator import COLUMNS, SUMMARY
from lesions import batches
from lesions.checks import put_aside
from lesions.files import read_table
from lesions.manifest import Manifest, read_manifest
from lesions.metadata import read_sheet
from lesions.places import with_sheet
from lesions.provenance import ModelCard, read_card, statement
from lesions.statistics import Tables, read_tables
from reports.comparisons import read_comparisons
from reports.content import Picture, RunReport, Training

SUBJECTS_3D = "subjects"  # prefix of the 3-D columns in SliceEvaluator's summary


@dataclass(frozen=True)
class Folders:
    """Where the artifacts of a run lie.

    Attributes:
        manifest, tables, fold_map, gate, evaluation, blessing, release: One each.
        selections: Of each plane.
        models: The chosen model of each plane.
    """

    manifest: Path
    tables: Path
    fold_map: Path
    gate: Path
    evaluation: Path
    blessing: Path
    release: Path
    selections: dict[str, Path]
    models: dict[str, Path]


def gather(
    folders: Folders, configuration: str, metadata: str, versions: dict[str, str], comparisons: Path
) -> RunReport:
    """Reads everything that the page shows.

    Args:
        folders: Of the run's artifacts.
        configuration: YAML text.
        metadata: The data set's metadata sheet; empty where there is none.
        versions: Component -> digest of the code that it ran.
        comparisons: Where `raxnet compare` leaves what it finds.
    """
    known, fused = read_manifest(folders.manifest), folders.evaluation
    measured, folds = read_tables(folders.tables), pd.read_csv(folders.fold_map / "folds.csv")
    holdout, files = read_table(fused / "holdout.csv"), read_table(fused / "files.csv")
    places, location_notes = _places(measured, metadata)
    chosen = {plane: read_selection(folder) for plane, folder in folders.selections.items()}
    cards = {plane: read_card(folder / "Format-Serving") for plane, folder in folders.models.items()}
    released = json.loads((folders.release / "release.json").read_text())
    settings = yaml.safe_load(configuration)
    return RunReport(
        title=f"RAX-Net run on {known.name}",
        statement=statement(known.name, min(card.subjects for card in cards.values()), known.phantom),
        phantom=known.phantom,
        dataset=_dataset(known, folds),
        findings=pd.DataFrame([vars(finding) for finding in known.findings]),
        grid=known.grid,
        tables_3d=measured.lesions_3d,
        tables_plane=measured.planes,
        locations=places,
        location_notes=location_notes,
        frequency=measured.frequency,
        folds=folds,
        quality=pd.read_csv(folders.fold_map / "folds_quality.csv"),
        batches=_batches(measured, folds, folders.selections, settings["training"]),
        anomalies=pd.concat([pd.read_csv(folders.gate / name) for name in ("anomalies.csv", "drift.csv")]),
        trainings=[
            training for p, folder in folders.selections.items() for training in _trainings(p, folder)
        ],
        validation=pd.concat(
            [_validation(p, f, chosen[p]["members"]) for p, f in folders.selections.items()]
        ),
        comparisons=read_comparisons(comparisons),
        holdout=holdout,
        scores=pd.read_csv(fused / "scores.csv"),
        by_category=pd.read_csv(fused / "by_category.csv"),
        slice_summary=pd.read_csv(fused / "slice_summary.csv"),
        holdout_slices=read_table(fused / "holdout_slices.parquet"),
        comparison=pd.read_csv(fused / "comparison.csv"),
        uncertainty=read_table(fused / "uncertainty.csv"),
        gates=pd.read_csv(folders.blessing / GATES),
        models=_models(released, cards),
        release=_release(released),
        pictures=_pictures(holdout, files, fused),
        lineage=lineage(folders, known, cards, chosen, settings, versions),
        config=configuration,
    )


def _places(measured: Tables, metadata: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Shares of the places, and what is to be known of the metadata sheet."""
    if measured.locations is None:
        return pd.DataFrame(), ()
    if not metadata:
        return measured.locations.summary(), ("No metadata sheet: all locations are approximate.",)
    counts, notes = read_sheet(metadata).match(measured.lesions_3d["subject"])
    said = f"Metadata sheet {Path(metadata).name}: {'; '.join(notes)}."
    return with_sheet(measured.locations, counts).summary(), (said,)


def _dataset(known: Manifest, folds: pd.DataFrame) -> dict[str, Any]:
    return {
        "name": known.name,
        "layout": known.layout,
        "grid": " x ".join(map(str, known.grid.shape)) + f", {known.grid.spacing[0]:g} mm",
        "subjects used": len(known.scans),
        "in the hold-out": int((folds["fold"] == 0).sum()),
        "scans put aside": len(put_aside(known.findings)),
        "without a mask, not used": len(known.without_mask),
    }


def _batches(
    measured: Tables, folds: pd.DataFrame, selections: dict[str, Path], training: dict[str, Any]
) -> pd.DataFrame:
    """The first epoch's batches of every training: drawn again from the seed, as the Trainer drew them."""
    made = []
    for plane, folder in selections.items():
        for fold in (fold for fold, _ in _histories(folder)):
            category = batches.training_slices(measured, folds, plane, fold)["category"].to_numpy()
            asked = (category, training["batch_size"], training["seed"], 0)
            rows = batches.quality(category, batches.plan(*asked))
            rows["tv_shuffled"] = batches.quality(category, batches.plain_plan(*asked))["tv"]
            rows["lesion_slices"] = np.count_nonzero(category)
            rows["minimum_tv"] = batches.minimum_tv(category, training["batch_size"])
            made.append(rows.assign(plane=plane, fold=fold, batch_size=training["batch_size"]))
    return pd.concat(made, ignore_index=True)


def _histories(folder: Path) -> list[tuple[int, Path]]:
    """Fold and learning curve of each training in a Selection, by ascending fold."""
    return sorted((int(path.stem.rsplit("_", 1)[1]), path) for path in folder.glob("history_fold_*.csv"))


def _trainings(plane: str, folder: Path) -> list[Training]:
    out = []
    for fold, path in _histories(folder):
        history = pd.read_csv(path)
        best = int(history.loc[history["val_loss"].idxmin(), "epoch"])
        out.append(Training(plane, fold, history, best))
    return out


def _validation(plane: str, folder: Path, members: list[int]) -> pd.DataFrame:
    """Every fold's summary.csv as rows: plane, fold, chosen, slices, metric, and the figures of that protocol."""
    made = []
    for fold, _ in _histories(folder):
        table = pd.read_csv(folder / f"fold_{fold}" / SUMMARY)
        for prefix in (*COLUMNS, SUBJECTS_3D):
            part = table[[name for name in table if name.startswith(f"{prefix}_")]]
            part = part.rename(columns=lambda name, prefix=prefix: name.removeprefix(f"{prefix}_"))
            known = {"plane": plane, "fold": fold, "chosen": fold in members, "slices": prefix}
            made.append(part.assign(metric=table["metric"], **known))
    return pd.concat(made, ignore_index=True)


def _models(released: dict[str, Any], cards: dict[str, ModelCard]) -> pd.DataFrame:
    models = released.get("models", {})
    rows = [
        {
            "plane": plane,
            "fold": ", ".join(map(str, card.members or (card.fold,))),
            "network": card.network,
            "loss": card.loss,
            "parameters": card.parameters,
            "subjects": card.subjects,
            "epochs": card.epochs,
            "pushed": plane in models,
            "version": str(models[plane]["version"]) if plane in models else None,
        }
        for plane, card in cards.items()
    ]
    return pd.DataFrame(rows)


def _release(released: dict[str, Any]) -> dict[str, Any] | None:
    if not released["released"]:
        return None
    versions = {plane: str(model["version"]) for plane, model in released["models"].items()}
    return {"release": released["id"], "versions": versions}


def _pictures(holdout: pd.DataFrame, files: pd.DataFrame, evaluation: Path) -> list[Picture]:
    shown = holdout[holdout["prediction"] == "fused"].merge(files, on="subject")
    folder = evaluation / DERIVATIVE
    apart = "uncertainty" in files
    return [
        Picture(
            row["subject"],
            Path(row["image"]),
            Path(row["truth"]),
            folder / row["mask"],
            float(row["dice"]),
            folder / row["uncertainty"] if apart and isinstance(row["uncertainty"], str) else None,
        )
        for _, row in shown.iterrows()
    ]
