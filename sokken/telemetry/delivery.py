"""OTLP over HTTP: whatever a collector does costs the tunnels nothing, and the log a line a minute.

Used by spans.py and metric_export.py. Spans have a queue and a thread of their own instead of the SDK's batches, which
drop the oldest with a warning each, wait up to 30 s at the end, and never rest: but a thread that makes and sends spans
takes Python's lock from the event loop, and so this one rests in proportion.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import requests
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from sokken.telemetry.logs import get_logger

T = TypeVar("T")

COMPLAINT_INTERVAL_SECONDS: Final = 60.0
SHARE: Final = 0.015
"""Of a processor, for making and sending spans."""

log = get_logger("telemetry")


class Complaints:
    """Says that a signal does not arrive, once a minute, with the reason that the exporter gave to its own log."""

    def __init__(self, signal: str, exporter: str, clock: Callable[[], float] = time.monotonic) -> None:
        """``exporter`` is the name of the exporter's logger."""
        self._signal = signal
        self._clock = clock
        self._complained_at: float | None = None
        self._lost = 0
        self._reason = _Reason()
        self._logger = logging.getLogger(exporter)
        self._logger.addFilter(self._reason)

    def failed(self, lost: int = 0) -> None:
        """An export has failed, and ``lost`` spans with it."""
        self._lost += lost
        now = self._clock()
        if self._complained_at is not None and now - self._complained_at < COMPLAINT_INTERVAL_SECONDS:
            return
        self._complained_at = now
        lost, self._lost = self._lost, 0
        told = {"dropped": lost} if lost else {}
        log.warning("telemetry_export_failed", signal=self._signal, **told, detail=self._reason.take())

    def close(self) -> None:
        """Leave the exporter's log as it was."""
        self._logger.removeFilter(self._reason)


class _Reason(logging.Filter):
    """Keeps what the exporter says from the log: it has a word for every attempt. The last one is the reason."""

    def __init__(self) -> None:
        super().__init__()
        self._attempt = self._end = ""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno > logging.WARNING:
            self._end = record.getMessage()
        else:
            self._attempt = record.getMessage()
        return False

    def take(self) -> str:
        """Why an attempt failed says more than that there will be no other."""
        reason, self._attempt, self._end = self._attempt or self._end, "", ""
        return reason


class Session(requests.Session):
    """Goes through HTTPS_PROXY as other programs do, and trusts whom OTEL_EXPORTER_OTLP_CERTIFICATE names.

    By itself ``requests`` would trust whom REQUESTS_CA_BUNDLE names even then.
    """

    def merge_environment_settings(
        self,
        url: str,
        proxies: dict[str, str] | None,
        stream: bool | None,
        verify: bool | str | None,
        cert: str | tuple[str, str] | None,
    ) -> dict[str, Any]:
        """What holds for one request."""
        if verify is None and self.verify is not True:
            verify = self.verify
        return super().merge_environment_settings(url, proxies, stream, verify, cert)


class SpanDelivery(Generic[T]):
    """Sends spans in batches. ``put``, ``has_room`` belong to the event loop's thread."""

    def __init__(self, queue: int, batch: int, delay_seconds: float) -> None:
        """At most ``queue`` wait; they are sent when there are ``batch``, or after the delay."""
        self._most = queue
        self._batch = min(batch, queue)
        self._delay = delay_seconds
        self._waiting: deque[T] = deque()
        self._shed = 0  # counted by the event loop's thread alone
        self._lost = 0  # counted by the sender's thread alone
        self._wake = threading.Event()
        self._is_ending = threading.Event()
        self._complaints = Complaints("traces", OTLPSpanExporter.__module__)
        self._exporter = OTLPSpanExporter(session=Session())
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"<SpanDelivery waiting={len(self._waiting)} dropped={self.dropped}>"

    @property
    def dropped(self) -> int:
        """How many spans were not delivered: there were too many, or the collector did not take them."""
        return self._shed + self._lost

    def start(self, build: Callable[[T], ReadableSpan]) -> None:
        """Begin to send; ``build`` is called on the sender's thread."""
        self._thread = threading.Thread(target=self._work, args=(build,), name="spans", daemon=True)
        self._thread.start()

    def has_room(self) -> bool:
        """Whether another span may begin; one that may not is dropped."""
        if len(self._waiting) < self._most:
            return True
        self._shed += 1
        return False

    def put(self, item: T) -> None:
        """Have it sent, or drop it."""
        if self.has_room():
            self._waiting.append(item)
            if len(self._waiting) == self._batch:
                self._wake.set()

    def close(self) -> None:
        """Send what waits; blocks as long as the collector makes it."""
        self._is_ending.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
        self._complaints.close()

    def _work(self, build: Callable[[T], ReadableSpan]) -> None:
        while not self._is_ending.is_set():
            self._wake.wait(self._delay)
            self._wake.clear()
            while self._waiting:
                self._rest(self._send(build))
                if len(self._waiting) < self._batch and not self._is_ending.is_set():
                    break

    def _send(self, build: Callable[[T], ReadableSpan]) -> float:
        """Send one batch; the processor's seconds that it took."""
        began = time.thread_time()
        count = min(self._batch, len(self._waiting))
        result = SpanExportResult.FAILURE
        with contextlib.suppress(Exception):  # the exporter says itself what it cannot do
            result = self._exporter.export([build(self._waiting.popleft()) for _ in range(count)])
        if result is not SpanExportResult.SUCCESS:
            self._lost += count
            self._complaints.failed(count)
        return time.thread_time() - began

    def _rest(self, worked: float) -> None:
        self._is_ending.wait(worked * (1 / SHARE - 1))


class MetricDelivery(OTLPMetricExporter):
    """Sends metrics."""

    def __init__(self) -> None:
        super().__init__(session=Session())
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

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:  # noqa: ANN401 -- as it is called
        """Send nothing more."""
        super().shutdown(timeout_millis, **kwargs)
        self._complaints.close()
