"""`raxnet import`: the method's published weights as models of ours."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lesions.errors import InputError

if TYPE_CHECKING:
    from lesions.provenance import ModelCard

HELP = "turn the authors' axial.h5, sagittal.h5 and coronal.h5 into models for segment and serve"
EXAMPLE = "raxnet import axial.h5 sagittal.h5 coronal.h5 serving_models"
ATLAS = "ATLAS v2.0, as published by the method's authors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.usage = "raxnet import FILE.h5 [FILE.h5 ...] OUT [--dataset NAME]"
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="FILE.h5 ... OUT",
        help="models of Keras 2, one per plane, then the folder of models: new, empty, or one that gets new versions",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        default=ATLAS,
        help=f"what they were trained on, where that is not the default: {ATLAS}",
    )


def run(args: argparse.Namespace) -> int:
    """Imports all files or none; prints a line per model; exit status 0."""
    *files, out = args.paths
    if not files:
        raise InputError("a file and an output folder are needed: raxnet import FILE.h5 [FILE.h5 ...] OUT")
    _require_models(out)
    import tempfile

    from lesions.push import push
    from lesions.slices import PLANES
    from trainer import keras2_models

    found = keras2_models.read(files, args.dataset)
    cards = {plane: found[plane].card for plane in PLANES if plane in found}
    _require_together(cards, out)
    with tempfile.TemporaryDirectory(prefix="raxnet-import-") as folder:
        for plane in cards:
            keras2_models.export(found[plane], Path(folder) / plane)
        for plane in cards:
            version = push(Path(folder) / plane, out / plane)
            saved = found[plane].saved
            print(f"{plane}  version {version}  {saved.path}", flush=True)
            if saved.named not in ("", plane):
                _warn(
                    f"{saved.path}: named {saved.named}, but its input has the size of {plane}, which it is"
                )
            elif saved.canvas is None:
                _warn(f"{saved.path}: does not say the size of its input; taken as {plane} by its name")
    if missing := [plane for plane in PLANES if plane not in cards and not (out / plane).is_dir()]:
        _warn(f"{out}: no model of {' and '.join(missing)}; masks are fused from the other planes")
    print(" ".join(dict.fromkeys(card.statement() for card in cards.values())))
    return 0


def _warn(text: str) -> None:
    print(f"raxnet import: warning: {text}", file=sys.stderr)


def _require_models(out: Path) -> None:
    """Raises InputError where versions cannot be added in a folder."""
    from lesions.files import require_writable
    from lesions.slices import PLANES

    if out.is_dir() and any(out.iterdir()) and not any((out / plane).is_dir() for plane in PLANES):
        raise InputError(
            f"{out}: holds other things than models; name a new folder, or one with {PLANES[0]}/ in it"
        )
    require_writable(out)


def _require_together(cards: dict[str, ModelCard], out: Path) -> None:
    """Raises InputError where the folder's other planes have models of another grid."""
    from lesions.provenance import read_card
    from lesions.slices import PLANES
    from serving.predictor import check_cards, newest_version

    others = {p: found for p in PLANES if p not in cards and (found := newest_version(out / p))}
    kept = {plane: read_card(folder) for plane, folder in others.items()}
    check_cards({p: str(others.get(p, f"imported {p}")) for p in PLANES}, {**cards, **kept})
