"""The numbers of metrics.py as OpenTelemetry's data, for its exporters: Prometheus' text, and OTLP over HTTP.

Imported only by open.py, because it takes time to load. The SDK's own instruments are not used: to record one
value in them costs more than all that a connection is counted with here (docs/architecture.md). Its readers are
given finished data instead of a meter provider's.
"""

import asyncio
import threading
import time
from collections.abc import Sequence

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricReader,
    MetricsData,
    NumberDataPoint,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from sokken.telemetry.instruments import Distribution, Kind, Reading
from sokken.telemetry.metrics import Metrics
from sokken.telemetry.resource import make_resource


def open_metrics(role: str, version: str, loop: asyncio.AbstractEventLoop, *, otlp: bool) -> Metrics:
    """Metrics that are rendered for Prometheus and, if ``otlp``, sent as the ``OTEL_*`` variables say."""
    metrics = Metrics(role, loop)
    metrics.publish(MetricExport(metrics, version, otlp=otlp))
    metrics.watch_loop()
    return metrics


class MetricExport:
    """Reads ``metrics`` for whoever asks."""

    def __init__(self, metrics: Metrics, version: str, *, otlp: bool) -> None:
        self._metrics = metrics
        self._resource = make_resource(metrics.role, version)
        self._scope = InstrumentationScope("sokken", version)
        self._registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._readers: list[MetricReader] = []
        self._add(PrometheusMetricReader(scope_info_enabled=False, registry=self._registry))
        if otlp:
            from sokken.telemetry.delivery import MetricDelivery  # noqa: PLC0415 -- it loads an HTTP client

            self._add(PeriodicExportingMetricReader(MetricDelivery()))

    def render(self) -> bytes:
        """In Prometheus' text format."""
        with self._lock:
            return generate_latest(self._registry)

    def close(self) -> None:
        """Send the last numbers."""
        for reader in self._readers:
            reader.shutdown()

    def _add(self, reader: MetricReader) -> None:
        # What a meter provider does with a reader that it is given.
        reader._set_collect_callback(self._collect)  # type: ignore[arg-type]  # noqa: SLF001
        self._readers.append(reader)

    def _collect(self, _reader: MetricReader, timeout_millis: float = 0) -> MetricsData | None:  # noqa: ARG002
        try:
            readings = self._metrics.read()
        except (TimeoutError, RuntimeError):  # the loop is stuck, or has ended: an error would end the reader for good
            return None
        now, since = time.time_ns(), self._metrics.started_ns
        metrics = [_convert(reading, self._metrics.role, since, now) for reading in readings if reading.series]
        scopes = [ScopeMetrics(self._scope, metrics, "")]
        return MetricsData([ResourceMetrics(self._resource, scopes, "")])


def _convert(reading: Reading, role: str, since: int, now: int) -> Metric:
    instrument = reading.instrument
    named = [({"role": role, **dict(attributes)}, value) for attributes, value in reading.series.items()]
    numbers = [
        NumberDataPoint(names, since, now, value) for names, value in named if not isinstance(value, Distribution)
    ]
    cumulative = AggregationTemporality.CUMULATIVE
    data: Gauge | Histogram | Sum
    if instrument.kind is Kind.HISTOGRAM:
        points = [
            _spread(names, value, instrument.bounds, since, now)
            for names, value in named
            if isinstance(value, Distribution)
        ]
        data = Histogram(points, cumulative)
    elif instrument.kind is Kind.GAUGE:
        data = Gauge(numbers)
    else:
        data = Sum(numbers, cumulative, is_monotonic=instrument.kind is Kind.COUNTER)
    return Metric(instrument.name, instrument.description, instrument.unit, data)


def _spread(
    names: dict[str, str], value: Distribution, bounds: Sequence[float], since: int, now: int
) -> HistogramDataPoint:
    return HistogramDataPoint(
        names, since, now, sum(value.counts), value.total, value.counts, bounds, value.smallest, value.largest
    )
