"""`raxnet serve`: the models of a folder over TensorFlow Serving's REST API."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from lesions.errors import InputError

HELP = "serve models over TensorFlow Serving's REST API"
EXAMPLE = "raxnet serve serving_models --rest-port 8501"
EVERYWHERE = ("0.0.0.0", "::")  # addresses to listen on, but no server's name
TOKEN = "RAXNET_TOKEN"  # environment variable, the client's too: a command line is for everybody to read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "models", type=Path, metavar="MODELS", help="folder with <model>/<version>/saved_model.pb"
    )
    parser.add_argument("--rest-port", type=int, default=8501, help="port (default: 8501; 0: any)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="further name under which the server may be addressed, * for any; may be repeated",
    )
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="MODEL/LABEL=VERSION",
        help="a version that stays served under a label; may be repeated",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=120.0,
        metavar="S",
        help="seconds a prediction may take (default: 120)",
    )
    parser.add_argument(
        "--drain",
        type=float,
        default=60.0,
        metavar="S",
        help="seconds that a replaced version is kept after it was asked last (default: 60)",
    )
    parser.add_argument(
        "--max-body", type=int, default=64, metavar="MB", help="largest request (default: 64)"
    )
    parser.epilog = (
        f"{parser.epilog}\nWith the environment variable {TOKEN} every request must bring it as bearer token."
    )


def run(args: argparse.Namespace) -> int:
    """Serves until SIGTERM."""
    _check(args)
    labels = dict(_label(text) for text in args.label)
    from serving import run_server
    from serving.http_guard import LOCAL, Guard
    from serving.model_server import ModelServer
    from serving.versions import ModelStore, scan
    from serving.worker import Worker

    found = scan(args.models)
    if not found:
        raise InputError(
            f"{args.models}: no <model>/<version>/saved_model.pb here; give the serving_models of a run"
        )
    for (model, label), version in labels.items():
        if version not in found.get(model, {}):
            raise InputError(f"--label {model}/{label}={version}: {args.models} has no such version")
    taken = run_server.bind(args.host, args.rest_port)
    names = [args.host] if args.host not in EVERYWHERE else []
    guard = Guard((*LOCAL, *names, *args.allowed_host), os.environ.get(TOKEN), args.max_body << 20)
    store = ModelStore(args.models, Worker(args.timeout), labels, args.drain)

    def ready() -> None:
        served = ", ".join(f"{name} {version}" for name, version in store.available().items())
        print(f"serving {served} at {run_server.address(taken)}", flush=True)

    print("loading the models", file=sys.stderr, flush=True)
    run_server.run(ModelServer(store, guard), taken, ready)
    return 0


def _check(args: argparse.Namespace) -> None:
    if not args.models.is_dir():
        raise InputError(f"{args.models}: no such folder of models; check the path")
    if not args.host:
        raise InputError("--host: expected an address, found none; 0.0.0.0 listens on all of them")
    for name, value, least in (
        ("--timeout", args.timeout, 0.001),
        ("--drain", args.drain, 0),
        ("--max-body", args.max_body, 1),
    ):
        if not least <= value < 1e9:
            raise InputError(f"{name}: expected a number of {least} or more, found {value}")


def _label(text: str) -> tuple[tuple[str, str], int]:
    name, _, version = text.partition("=")
    model, _, label = name.partition("/")
    if not (model and label and version.isascii() and version.isdigit()):
        raise InputError(f"--label {text}: expected MODEL/LABEL=VERSION, as axial/stable=3")
    return (model, label), int(version)
