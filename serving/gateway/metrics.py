"""The gateway's own metrics, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.01, 0.1, 1, 3, 10, 30, 100, 300, 1000, 3000)


class Metrics:
    """Counts and times; labels are routes of ours and statuses, never what a caller invents."""

    def __init__(self, gauges: Mapping[str, tuple[str, Callable[[], float]]]):
        """Args: gauges: Name to meaning and present value."""
        self.registry = CollectorRegistry()
        labels = ["route", "status"]
        self._requests = Counter(
            "raxnet_gateway_requests", "Requests answered", labels, registry=self.registry
        )
        self._seconds = Histogram(
            "raxnet_gateway_request_seconds",
            "Seconds until the answer was sent",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        for name, (meaning, value) in gauges.items():
            Gauge(f"raxnet_gateway_{name}", meaning, registry=self.registry).set_function(value)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Counts a request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All of them."""
        return generate_latest(self.registry)
