#!/usr/bin/env python3
"""A Beam SDK worker of this environment's Python: what a TaskManager starts for a job.

It is told its name and one endpoint, asks there for the others and for the job's options, and goes on as Beam's
container does. cluster.py puts this project's Python first on the path.
"""

import argparse
import os
import threading
import time
from pathlib import Path

LOGS = "RAXNET_FLINK_LOGS"  # environment variable: folder of the logs


def keep_log() -> None:
    """Sends what the process prints into a log of its own: the TaskManager would drop it."""
    folder = os.environ.get(LOGS)
    if folder:
        log = os.open(
            Path(folder) / f"worker-{os.getpid()}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644
        )
        os.dup2(log, 1)
        os.dup2(log, 2)


def end_with(parent: int) -> None:
    """Ends this process when its TaskManager is gone: nobody would wait for its work."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def ask(endpoint: str, worker: str) -> dict[str, str]:
    """The environment that Beam's worker expects, of the runner's answer."""
    import grpc
    from apache_beam.portability.api import beam_provision_api_pb2 as api
    from apache_beam.portability.api import beam_provision_api_pb2_grpc as stubs
    from apache_beam.runners.worker.worker_id_interceptor import WorkerIdInterceptor
    from google.protobuf import json_format, text_format

    with grpc.insecure_channel(endpoint) as channel:
        service = stubs.ProvisionServiceStub(grpc.intercept_channel(channel, WorkerIdInterceptor(worker)))
        info = service.GetProvisionInfo(api.GetProvisionInfoRequest()).info
    return {
        "WORKER_ID": worker,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.logging_endpoint),
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.control_endpoint),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }


def main() -> None:
    """Runs until the runner ends the connection."""
    parent = os.getppid()
    keep_log()
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    parser = argparse.ArgumentParser()
    parser.add_argument("--id", required=True)
    parser.add_argument("--provision_endpoint", required=True)
    given, _ = parser.parse_known_args()
    os.environ.update(ask(given.provision_endpoint, given.id))
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main([])


if __name__ == "__main__":
    main()
