"""`raxnet segment`: one scan, or a folder of scans, to fused lesion masks."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from lesions.errors import InputError
from lesions.progress import to_log
from lesions.version import DISTRIBUTION

if TYPE_CHECKING:
    from serving.bids_app import Outcome
    from serving.predictor import Predictor

HELP = "segment T1 scans: lesion masks as a BIDS derivative"
EXAMPLE = "raxnet segment scan.nii.gz masks --models serving_models"
LEVELS = ("participant", "group")
MODELS = Path("serving_models")
USAGE = "raxnet segment INPUT [INPUT ...] OUT [participant|group] [--models DIR | --server URL] [options]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.usage = USAGE
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="INPUT ... OUT [participant|group]",
        help="NIfTI files or BIDS folders, then the output folder, then the level: participant (default) "
        "segments, group writes one table of the masks in OUT",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--models", type=Path, help=f"folder of trained models (default: ./{MODELS})")
    where.add_argument(
        "--server",
        metavar="URL",
        help="models of a server instead: `raxnet serve` or TensorFlow Serving, http://HOST:8501; a token is taken "
        "from the environment variable RAXNET_TOKEN",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the multiplications: bfloat16 is quicker on a processor that has it and moves a few voxels",
    )
    parser.add_argument("--rule", default="mean", choices=("mean", "majority"), help="fusion of the planes")
    parser.add_argument(
        "--threshold", type=float, default=0.5, help="lesion at this probability (default: 0.5)"
    )
    parser.add_argument(
        "--flip",
        action="store_true",
        help="average with the scan mirrored left to right; takes twice the time",
    )
    parser.add_argument(
        "--register",
        choices=("affine",),
        help="lay each scan onto the MNI152 template first, for scans that are not in MNI space; masks stay on the "
        "scan's own grid, the transform is written beside them (needs SimpleITK)",
    )
    parser.add_argument(
        *("--participant-label", "--participant_label"),
        nargs="+",
        default=[],
        metavar="LABEL",
        help="only these subjects, with or without sub-",
    )
    parser.add_argument(
        *("--session-label", "--session_label"),
        nargs="+",
        default=[],
        metavar="LABEL",
        help="only these sessions, with or without ses-",
    )
    parser.add_argument(
        "--strict", action="store_true", help="refuse scans that do not lie in MNI space, or may not"
    )
    parser.add_argument(
        *("--skip-bids-validator", "--skip_bids_validator"),
        action="store_true",
        help="taken since BIDS Apps have it; no validator is run",
    )
    parser.add_argument("-v", "--version", action="version", version=f"raxnet {_version()}")
    parser.add_argument(
        "--bids-name",
        metavar="NAME",
        help="write masks alone, as a data set of this name: atlas2_prediction is what the ATLAS challenge evaluates",
    )
    parser.add_argument("--json", action="store_true", help="print the masks' sidecars, as a JSON list")


def _version() -> str:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(DISTRIBUTION)
    return "unknown"


def run(args: argparse.Namespace) -> int:
    """Segments, or gathers the table; exit status 0, or 1 where a scan failed among others."""
    inputs, out, level = split_paths(args.paths)
    from serving import bids, bids_app, device, segmenter, sidecar

    if level == "group":
        print(f"table: {bids_app.group(out)}")
        return 0
    if args.server and args.precision != device.FLOAT32:
        raise InputError("--precision: the server has its own; start `raxnet serve` with it")
    segmenter.check_options(args.rule, args.threshold, args.register)
    scans = bids.find_scans(inputs, args.participant_label, args.session_label)
    predictor = _open_server(args.server) if args.server else _open(args.models, args.precision)
    say = sys.stderr if args.json else sys.stdout
    print(f"server: {args.server}" if args.server else f"device: {device.describe()}", file=say)
    print(f"models: {', '.join(predictor.planes)}. {sidecar.statement(predictor)}", file=say, flush=True)
    outcomes = []
    progress = to_log("segmenting")
    options = {
        "flip": args.flip,
        "register": args.register,
        "strict": args.strict,
        "bids_name": args.bids_name,
    }
    for outcome in bids_app.participant(
        scans, out, predictor, args.rule, args.threshold, progress, **options
    ):
        _tell(outcome, args.json, alone=len(scans) == 1)
        outcomes.append(outcome)
    if args.json:
        print(json.dumps([{"Mask": str(o.mask), **o.sidecar} for o in outcomes if not o.error], indent=2))
    return 1 if any(outcome.error for outcome in outcomes) else 0


def split_paths(paths: list[str]) -> tuple[list[str], Path, str]:
    """(inputs, output folder, level) of the positional arguments. Raises InputError where one is missing."""
    level = paths[-1] if paths[-1] in LEVELS else LEVELS[0]
    rest = paths[:-1] if paths[-1] in LEVELS else paths
    if len(rest) < 2:
        raise InputError(f"an input and an output folder are needed: {USAGE}")
    return rest[:-1], Path(rest[-1]), level


def _open_server(url: str) -> Predictor:
    from serving.rest_client import TOKEN, open_server

    return open_server(url, os.environ.get(TOKEN))


def _open(models: Path | None, precision: str) -> Predictor:
    from serving.predictor import open_models

    if models is None and not MODELS.is_dir():
        raise InputError(
            f"no models: ./{MODELS} is not here; give the serving_models of a run with --models DIR"
        )
    return open_models(models or MODELS, precision)


def _tell(outcome: Outcome, quiet: bool, alone: bool) -> None:
    if outcome.error and alone and outcome.bad_input:
        raise InputError(outcome.error)
    if outcome.error:
        print(f"raxnet segment: {outcome.error}", file=sys.stderr)
        return
    for warning in outcome.sidecar["Warnings"]:
        print(f"raxnet segment: warning: {outcome.scan.path}: {warning}", file=sys.stderr)
    if not quiet:
        ml, took = (
            outcome.sidecar["LesionVolumeMl"],
            "done before" if outcome.reused else f"{outcome.seconds:.1f} s",
        )
        print(f"{outcome.scan.label}  {ml:.2f} ml  {took}  {outcome.mask}", flush=True)
