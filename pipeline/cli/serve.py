"""`raxnet serve`: the gateway, and the models of a folder over TensorFlow Serving's REST API."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lesions.errors import InputError

if TYPE_CHECKING:
    from socket import socket

    from serving.http_guard import Guard
    from serving.run_server import Service

HELP = (
    "serve the web page, the gateway (a scan in, its mask out) and models over TensorFlow Serving's REST API"
)
EXAMPLE = "raxnet serve serving_models --port 8080 --rest-port 8501"
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # addresses to listen on, but no server's name
TOKEN = "RAXNET_TOKEN"  # environment variable, the client's too: a command line is for everybody to read
SERVER_TOKEN = "RAXNET_SERVER_TOKEN"  # of the server that --server names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add = parser.add_argument
    add(
        "models",
        type=Path,
        nargs="?",
        metavar="MODELS",
        help="folder with <model>/<version>/saved_model.pb",
    )
    add(
        "--server",
        metavar="URL",
        help="instead of MODELS: the gateway alone, before TensorFlow Serving or another `raxnet serve`",
    )
    add("--port", type=int, default=8080, help="of the gateway and its page (default: 8080; 0: any)")
    add("--rest-port", type=int, default=8501, help="of the model server (default: 8501; 0: any)")
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    add(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="further name under which the server may be addressed, * for any; may be repeated",
    )
    add(
        "--label",
        action="append",
        default=[],
        metavar="MODEL/LABEL=VERSION",
        help="a version that stays served under a label; may be repeated",
    )
    add(
        "--jobs",
        type=Path,
        metavar="DIR",
        help="folder of the jobs, which outlives the gateway and may be shared by several (default: a temporary one)",
    )
    add(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the multiplications: bfloat16 is quicker on a processor that has it and moves a few voxels",
    )
    _add_limits(parser)
    parser.epilog = (
        f"{parser.epilog}\nWith the environment variable {TOKEN} every request must bring it as bearer token; "
        f"{SERVER_TOKEN} is sent to --server."
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    def add(name: str, default: float, metavar: str, text: str) -> None:
        kind = int if isinstance(default, int) else float
        parser.add_argument(
            name, type=kind, default=default, metavar=metavar, help=f"{text} (default: {default:g})"
        )

    add("--timeout", 120.0, "S", "seconds a prediction may take")
    add("--drain", 60.0, "S", "seconds that a replaced version is kept after it was asked last")
    add("--max-body", 64, "MB", "largest request to the model server")
    add("--max-upload", 128, "MB", "largest scan file that the gateway takes")
    add("--max-voxels", 64, "MILLION", "largest scan, in millions of voxels")
    add("--volumes", 1, "N", "scans segmented at a time; memory grows with it")
    add("--queue", 8, "N", "scans that may wait besides, and jobs")
    add("--keep", 3600.0, "S", "seconds that the results of a job are kept")


def run(args: argparse.Namespace) -> int:
    """Serves until SIGTERM."""
    _check(args)
    from serving import run_server
    from serving.http_guard import LOCAL, Guard

    names = [args.host] if args.host not in EVERYWHERE else []
    hosts, token = (*LOCAL, *names, *args.allowed_host), os.environ.get(TOKEN)
    page = run_server.bind(args.host, args.port)
    said, services = [], []
    server, server_token = args.server, os.environ.get(SERVER_TOKEN)
    if not server:
        rest = run_server.bind(args.host, args.rest_port)
        service, describe = _model_server(args, Guard(hosts, token, args.max_body << 20), rest)
        services, said = [service], [describe]
        server, server_token = _reachable(args.host, rest), token
        print("loading the models", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="raxnet-") as scratch:
        guard = Guard(hosts, token)
        services.append(_gateway(args, guard, page, server, server_token, Path(scratch)))
        said.append(lambda: f"gateway at {run_server.address(page)}")
        run_server.run(services, lambda: print(*(say() for say in said), sep="\n", flush=True))
    return 0


def _model_server(args: argparse.Namespace, guard: Guard, taken: socket) -> tuple:
    """The embedded model server, and what to say when it is up."""
    from serving import device, run_server
    from serving.model_server import ModelServer
    from serving.versions import ModelStore, scan
    from serving.worker import Worker

    device.check_precision(args.precision)
    found, labels = scan(args.models), dict(_label(text) for text in args.label)
    if not found:
        raise InputError(
            f"{args.models}: no <model>/<version>/saved_model.pb here; give the serving_models of a run"
        )
    for (model, label), version in labels.items():
        if version not in found.get(model, {}):
            raise InputError(f"--label {model}/{label}={version}: {args.models} has no such version")
    store = ModelStore(args.models, Worker(args.timeout, args.precision), labels, args.drain)

    def describe() -> str:
        served = ", ".join(f"{name} {version}" for name, version in store.available().items())
        return f"serving {served} at {run_server.address(taken)}"

    return run_server.Service(ModelServer(store, guard), taken), describe


def _gateway(
    args: argparse.Namespace, guard: Guard, taken: socket, server: str, token: str | None, scratch: Path
) -> Service:
    from serving import run_server
    from serving.gateway.app import Gateway
    from serving.gateway.models import Models
    from serving.gateway.scan import Limits
    from serving.gateway.settings import Settings
    from serving.rest_client import open_client

    models = Models(open_client(server, token), "model server", args.models)
    limits = Limits(args.max_upload << 20, args.max_voxels * 1_000_000)
    jobs = args.jobs or scratch / "jobs"
    settings = Settings(scratch, jobs, limits, args.volumes, args.queue, args.keep)
    return run_server.Service(Gateway(models, guard, settings), taken)


def _reachable(host: str, taken: socket) -> str:
    """Where the embedded model server is for the gateway beside it."""
    from serving import run_server

    return (
        run_server.address(taken)
        .replace(f"//{host}", f"//{EVERYWHERE.get(host, host)}")
        .replace("[::]", "[::1]")
    )


def _check(args: argparse.Namespace) -> None:
    if (args.models is None) == (args.server is None):
        raise InputError("give either a folder of MODELS or --server URL")
    if args.models and not args.models.is_dir():
        raise InputError(f"{args.models}: no such folder of models; check the path")
    if not args.host:
        raise InputError("--host: expected an address, found none; 0.0.0.0 listens on all of them")
    for name, least in (
        ("timeout", 0.001),
        ("drain", 0),
        ("max_body", 1),
        ("max_upload", 1),
        ("max_voxels", 1),
        ("volumes", 1),
        ("queue", 1),
        ("keep", 1),
    ):
        if not least <= getattr(args, name) < 1e9:
            raise InputError(
                f"--{name.replace('_', '-')}: expected a number of {least} or more, found {getattr(args, name)}"
            )


def _label(text: str) -> tuple[tuple[str, str], int]:
    name, _, version = text.partition("=")
    model, _, label = name.partition("/")
    if not (model and label and version.isascii() and version.isdigit()):
        raise InputError(f"--label {text}: expected MODEL/LABEL=VERSION, as axial/stable=3")
    return (model, label), int(version)
