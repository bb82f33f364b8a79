"""The model server's metrics, under the names that TensorFlow Serving's have.

The names: docs/spec/tensorflow_serving.md#monitoring.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric

PATH = "/monitoring/prometheus/metrics"
CONTENT_TYPE = "text/plain"
UNKNOWN = "unknown"  # stands for every name that is none of our models': callers invent names without end
_BUCKETS = tuple(10.0 * 1.8**k for k in range(33))  # microseconds


class Metrics:
    """Counts and times of requests."""

    def __init__(self, restarts: Callable[[], int], up: Callable[[], bool]):
        """Args: restarts: How often the process with the models was started anew. up: Whether it is there."""
        self.registry = CollectorRegistry()
        self.requests = _Requests()
        self.registry.register(self.requests)
        self.latency = self._histogram("request_latency", "entrypoint")
        self.runtime = self._histogram("runtime_latency", "runtime")
        again = "Starts of the process with the models after the first"
        Gauge("raxnet_worker_restarts", again, registry=self.registry).set_function(restarts)
        there = "1 while the process with the models can be asked"
        Gauge("raxnet_worker_up", there, registry=self.registry).set_function(up)

    def answered(self, model: str, code: str, seconds: float, seconds_running: float | None) -> None:
        """Counts a predict request.

        Args:
            model: Of our models, or `UNKNOWN`.
            code: How it ended, of `serving.rest_api.errors.CODES`.
            seconds: That it took in all.
            seconds_running: That TensorFlow took; None where it was not reached.
        """
        self.requests.counts[model, code] += 1
        self.latency.labels(model, "Predict", "REST").observe(seconds * 1e6)
        if seconds_running is not None:
            self.runtime.labels(model, "Predict", "TF2").observe(seconds_running * 1e6)

    def text(self) -> bytes:
        """All of them as Prometheus reads them."""
        return generate_latest(self.registry)

    def _histogram(self, name: str, label: str) -> Histogram:
        return Histogram(
            f":tensorflow:serving:{name}",
            "Microseconds",
            ["model_name", "API", label],
            buckets=_BUCKETS,
            registry=self.registry,
        )


class _Requests:
    """The count of requests; the library's own counter would add `_total` to TensorFlow Serving's name."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def collect(self) -> Iterator[Metric]:
        metric = Metric(":tensorflow:serving:request_count", "Requests by model and status", "unknown")
        for (model, code), count in sorted(self.counts.items()):
            metric.add_sample(metric.name, {"model_name": model, "status": code}, count)
        yield metric
