"""OTLP over HTTP: whatever a collector does costs the tunnels nothing, and the log a line a minute.

Used by spans.py and metric_export.py, on the SDK's threads. Sending is paced, so that it never takes more than a small
part of the processor from the event loop, which shares Python's lock with it; what does not fit is dropped and counted.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import requests
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from sokken.telemetry.logs import get_logger

COMPLAINT_INTERVAL_SECONDS: Final = 60.0
SHARE: Final = 0.08
"""Of a processor, for making and sending spans."""

log = get_logger("telemetry")


class Complaints:
    """Says that a signal does not arrive, once a minute, with the reason that the exporter gave to its own log."""

    def __init__(self, signal: str, exporter: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._signal = signal
        self._clock = clock
        self._complained_at: float | None = None
        self._lost = 0
        self._reason = _Reason()
        logger = logging.getLogger(exporter)
        logger.addFilter(self._reason)

    def failed(self, lost: int = 0) -> None:
        """An export has failed, and ``lost`` items with it."""
        self._lost += lost
        now = self._clock()
        if self._complained_at is not None and now - self._complained_at < COMPLAINT_INTERVAL_SECONDS:
            return
        self._complained_at = now
        lost, self._lost = self._lost, 0
        told = {"dropped": lost} if lost else {}
        log.warning("telemetry_export_failed", signal=self._signal, **told, detail=self._reason.take())


class _Reason(logging.Filter):
    """Keeps the exporter's last word to itself: it has one for every attempt."""

    def __init__(self) -> None:
        super().__init__()
        self._transient = self._last = ""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno == logging.WARNING:
            self._transient = record.getMessage()
        else:
            self._last = record.getMessage()
        return False

    def take(self) -> str:
        reason, self._transient, self._last = self._transient or self._last, "", ""
        return reason


class SpanDelivery(OTLPSpanExporter):
    """Sends batches, and knows how many spans wait: ``queue`` may."""

    def __init__(self, queue: int) -> None:
        # A session of ours: the exporter's own way might leave HTTPS_PROXY and NO_PROXY aside.
        super().__init__(session=requests.Session())
        self.dropped = 0
        self._queue = queue
        self._taken_in = 0  # by the event loop's thread alone
        self._taken_out = 0  # by the SDK's thread alone
        self._lost = 0  # by the SDK's thread alone
        self._is_hurried = threading.Event()
        self._complaints = Complaints("traces", OTLPSpanExporter.__module__)

    def __repr__(self) -> str:
        return f"<SpanDelivery waiting={self.waiting} dropped={self.lost}>"

    @property
    def waiting(self) -> int:
        """How many spans wait to be sent."""
        return self._taken_in - self._taken_out

    @property
    def lost(self) -> int:
        """How many spans were not delivered."""
        return self.dropped + self._lost

    def has_room(self) -> bool:
        """Whether another span may begin; if not, it counts as dropped."""
        if self.waiting < self._queue:
            return True
        self.dropped += 1
        return False

    def admit(self) -> bool:
        """Count a span that is given to the SDK's queue; False if there is no room for it."""
        if not self.has_room():
            return False
        self._taken_in += 1
        return True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch, then rest in proportion to what it took."""
        self._taken_out += len(spans)
        began = time.thread_time()
        result = super().export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
            self._complaints.failed(len(spans))
        self._is_hurried.wait((time.thread_time() - began) * (1 / SHARE - 1))
        return result

    def hurry(self) -> None:
        """Rest no more: the process is about to end."""
        self._is_hurried.set()


class MetricDelivery(OTLPMetricExporter):
    """Sends metrics."""

    def __init__(self) -> None:
        super().__init__(session=requests.Session())
        self._complaints = Complaints("metrics", OTLPMetricExporter.__module__)

    def export(
        self,
        metrics_data: MetricsData,
        timeout_millis: float | None = 10_000,
        **kwargs: Any,  # noqa: ANN401 -- as it is called
    ) -> MetricExportResult:
        """Send them once."""
        result = super().export(metrics_data, timeout_millis, **kwargs)
        if result is not MetricExportResult.SUCCESS:
            self._complaints.failed()
        return result
