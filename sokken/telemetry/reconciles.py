"""What one reconcile of a Tunnel leaves in traces and metrics: a span, and how long it took with which result.

The operator begins one before it looks at a Tunnel and ends it afterwards; without anybody who wants to know it keeps
nothing. The Tunnel's name is in the span alone: as an attribute of a metric it would have no bound.
"""

import time
from functools import partial
from typing import TYPE_CHECKING

from sokken.telemetry.drafts import Draft
from sokken.telemetry.instruments import RECONCILE_DURATION
from sokken.telemetry.metrics import Metrics

if TYPE_CHECKING:  # it loads OpenTelemetry
    from sokken.protocol.trace_context import TraceContext
    from sokken.telemetry.spans import Spans


class Reconciles:
    """Begins them."""

    def __init__(self, metrics: Metrics | None = None, spans: "Spans | None" = None) -> None:
        self._metrics = metrics
        self._spans = spans

    def begin(self, namespace: str, name: str) -> "Reconcile":
        """A worker takes a Tunnel."""
        return Reconcile(self._metrics, self._spans, namespace, name)


class Reconcile:
    """One of them; ``end`` it once."""

    __slots__ = ("_began", "_context", "_facts", "_metrics", "_spans", "_started")

    def __init__(self, metrics: Metrics | None, spans: "Spans | None", namespace: str, name: str) -> None:
        self._metrics = metrics
        self._spans = spans
        self._started = time.monotonic()
        self._began = 0
        self._facts = {"k8s.namespace.name": namespace, "sokken.tunnel.name": name}
        self._context: TraceContext | None = None
        if spans is not None:
            self._began = time.time_ns()
            self._context = spans.start("sokken.reconcile", self._facts)

    def end(self, result: str, error: str | None = None) -> None:
        """It is over; ``error`` is why, if it has failed, in a word."""
        if self._metrics is not None:
            named = (("result", result),)
            attributes = named if error is None else (*named, ("error.type", error))
            self._metrics.record(RECONCILE_DURATION, time.monotonic() - self._started, attributes)
        if self._spans is not None and self._context is not None and self._context.is_recorded:
            self._spans.keep(partial(self._draft, time.time_ns(), result, error))

    def _draft(self, ended: int, result: str, error: str | None, spans: "Spans") -> Draft:  # noqa: ARG002 -- others need it
        if self._context is None:  # pragma: no cover -- for the type checker
            raise RuntimeError("there is no span")
        facts = {**self._facts, "sokken.reconcile.result": result}
        return Draft("sokken.reconcile", self._context, None, self._began, ended, facts, error)
