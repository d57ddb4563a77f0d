"""Traces and metrics of a program, as far as somebody wants them: nothing else is loaded, and nothing else costs.

Called once by each program, when its loop runs; closed when its connections have ended. What cannot be had is a
warning: telemetry never keeps a tunnel from working.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from sokken.settings.opentelemetry import OpenTelemetry
from sokken.telemetry.instruments import SPANS_DROPPED
from sokken.telemetry.logs import get_logger
from sokken.telemetry.metrics import Metrics
from sokken.telemetry.reconciles import Reconciles
from sokken.telemetry.trail import NO_TRAILS, Trails

if TYPE_CHECKING:  # it loads OpenTelemetry
    from sokken.telemetry.spans import Spans

T = TypeVar("T")

FAREWELL_SECONDS: Final = 5.0
"""What the last spans and numbers may take."""

log = get_logger("telemetry")


class Telemetry:
    """What was opened: ``trails`` for connections, ``reconciles`` for Tunnels, ``metrics`` if somebody reads them."""

    def __init__(self, metrics: Metrics | None, spans: "Spans | None", trails: Trails) -> None:
        self.metrics = metrics
        self.trails = trails
        self.reconciles = Reconciles(metrics, spans)
        self._spans = spans
        if metrics is not None and spans is not None:
            metrics.observe(lambda: [(SPANS_DROPPED, (), spans.delivery.dropped)])

    async def close(self) -> None:
        """Deliver what is left, for ``FAREWELL_SECONDS`` at most."""
        closing = [part.close for part in (self.metrics, self._spans) if part is not None]
        if closing and not await asyncio.to_thread(_run_all, closing, FAREWELL_SECONDS):
            log.warning("telemetry_not_delivered", seconds=FAREWELL_SECONDS, detail="the collector takes too long")


def open_telemetry(asked: OpenTelemetry, settings: object, role: str, version: str, *, is_scraped: bool) -> Telemetry:
    """Open what is asked for, with those of the settings that the program has.

    ``is_scraped`` is whether there is an address where metrics can be read.
    """
    for problem in asked.problems:
        log.warning("telemetry_unavailable", detail=problem)
    metrics = spans = None
    if asked.metrics or (asked.prometheus and is_scraped):
        metrics = _attempt("metrics", lambda: _open_metrics(asked, role, version))
    if asked.traces:
        spans = _attempt("traces", lambda: _open_spans(asked, settings, role, version))
    return Telemetry(metrics, spans, _open_trails(settings, metrics, spans))


def _open_metrics(asked: OpenTelemetry, role: str, version: str) -> Metrics:
    from sokken.telemetry.metric_export import open_metrics  # noqa: PLC0415 -- it loads OpenTelemetry

    return open_metrics(role, version, asyncio.get_running_loop(), otlp=asked.metrics)


def _open_spans(asked: OpenTelemetry, settings: object, role: str, version: str) -> "Spans":
    # They load OpenTelemetry.
    from sokken.telemetry.delivery import SpanDelivery  # noqa: PLC0415
    from sokken.telemetry.drafts import Draft  # noqa: PLC0415
    from sokken.telemetry.spans import Spans  # noqa: PLC0415

    delivery: SpanDelivery[Callable[[Spans], Draft]] = SpanDelivery(
        asked.span_queue, asked.span_batch, asked.span_delay_seconds
    )
    try:
        return Spans(
            role,
            version,
            delivery,
            session=getattr(settings, "trace_session", "off"),
            propagates=asked.propagates,
            baggage_keys=getattr(settings, "baggage_keys", ()),
        )
    except BaseException:
        delivery.close()
        raise


def _open_trails(settings: object, metrics: Metrics | None, spans: "Spans | None") -> Trails:
    if metrics is None and spans is None:
        return NO_TRAILS
    from sokken.telemetry.trails import LiveTrails  # noqa: PLC0415 -- as above

    return LiveTrails(
        metrics,
        spans,
        tunnel=getattr(settings, "tunnel_name", None),
        route=getattr(settings, "base_path", "") + "/tunnel/{target}",
        trust=getattr(settings, "trace_trust_parent", "never"),
        shows_clients=getattr(settings, "trace_client_address", False),
    )


def _attempt(signal: str, make: Callable[[], T]) -> T | None:
    """None, and one line, for what the SDK does not accept: variables of its own, or files that they name."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001 -- whatever it is, the tunnels go on without
        log.warning("telemetry_unavailable", signal=signal, detail=str(error) or type(error).__name__)
        return None


def _run_all(jobs: Sequence[Callable[[], None]], seconds: float) -> bool:
    """Run them at once on threads that the exit does not wait for; whether all have ended in time."""
    threads = [threading.Thread(target=job, daemon=True) for job in jobs]
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)
