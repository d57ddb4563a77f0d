"""Spans by OpenTelemetry's SDK: its sampler, identifiers, resource, batches and exporter.

Imported only by open.py, where an endpoint is configured, because it takes time to load. The SDK's own ``Span`` is not
used: made for attributes that come one by one from many threads, it costs five times as much as a span that is
built whole when it ends.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from opentelemetry import baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sokken.protocol.trace_context import TRACE_PARENT, TRACE_STATE
from sokken.telemetry.delivery import SpanDelivery
from sokken.telemetry.resource import make_resource

_KINDS: Final = {
    "sokken.connect": SpanKind.CLIENT,
    "sokken.accept": SpanKind.SERVER,
    "sokken.target.connect": SpanKind.CLIENT,
    "sokken.session": SpanKind.INTERNAL,
}
_MAX_HEADER: Final = 512
"""Characters of traceparent and tracestate (W3C Trace Context section 3.3.1.5): a longer one is as none."""
_MAX_BAGGAGE: Final = 8192
_MAX_VALUE: Final = 256
_RECORDED: Final = TraceFlags(TraceFlags.SAMPLED)
_NOT_RECORDED: Final = TraceFlags(TraceFlags.DEFAULT)
_OK: Final = Status(StatusCode.UNSET)
_ERROR: Final = Status(StatusCode.ERROR)


class Spans:
    """The spans of one process. ``session`` is ``link``, ``child`` or ``off``."""

    def __init__(
        self,
        role: str,
        version: str,
        *,
        session: str,
        queue: int,
        propagates: bool = True,
        baggage_keys: Sequence[str] = (),
    ) -> None:
        """``queue``: spans that wait to be sent, at most. Raises what the SDK does for variables that cannot work."""
        self.propagates = propagates
        self._session = session
        self._baggage_keys = baggage_keys
        self._scope = InstrumentationScope("sokken", version)
        provider = TracerProvider(resource=make_resource(role, version), shutdown_on_exit=False)
        self._resource, self._sampler, self._ids = provider.resource, provider.sampler, provider.id_generator
        self._parents = TraceContextTextMapPropagator()
        self._baggage = W3CBaggagePropagator()
        self.delivery = SpanDelivery(queue)
        self._processor = BatchSpanProcessor(self.delivery, max_queue_size=queue)

    def __repr__(self) -> str:
        return f"<Spans {self.delivery!r}>"

    # Contexts

    def start(self, name: str, attributes: Mapping[str, Any], parent: SpanContext | None = None) -> SpanContext:
        """A span's name: in the parent's trace, or a new one; the sampler says whether it is recorded.

        When too many spans wait already none is: half of a trace helps nobody, and to make one costs.
        """
        trace_id = self._ids.generate_trace_id() if parent is None else parent.trace_id
        within = Context() if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())
        verdict = self._sampler.should_sample(within, trace_id, name, _KINDS[name], attributes)
        is_recorded = verdict.decision is Decision.RECORD_AND_SAMPLE and self.delivery.has_room()
        flags = _RECORDED if is_recorded else _NOT_RECORDED
        return SpanContext(trace_id, self._ids.generate_span_id(), False, flags, verdict.trace_state)  # noqa: FBT003

    @staticmethod
    def is_recorded(context: SpanContext | None) -> bool:
        """Whether spans of it are to be made."""
        return context is not None and context.trace_flags.sampled

    def read_parent(self, headers: Mapping[str, str]) -> SpanContext | None:
        """Whose child a request says that it is; None for nobody's, and for what is malformed."""
        parent = headers.get(TRACE_PARENT)
        if parent is None or len(parent) > _MAX_HEADER or not self.propagates:
            return None
        carrier = {TRACE_PARENT: parent}
        state = headers.get(TRACE_STATE)
        if state is not None and len(state) <= _MAX_HEADER:
            carrier[TRACE_STATE] = state
        context = get_current_span(self._parents.extract(carrier, Context())).get_span_context()
        return context if context.is_valid else None

    def read_baggage(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """The entries of a request's baggage that are wanted, as attributes."""
        if not self._baggage_keys:
            return {}
        sent = headers.get("baggage", "")
        if not sent or len(sent) > _MAX_BAGGAGE:
            return {}
        found = baggage.get_all(self._baggage.extract({"baggage": sent}, Context()))
        return {f"baggage.{key}": str(found[key])[:_MAX_VALUE] for key in self._baggage_keys if key in found}

    # Spans

    def record(
        self,
        name: str,
        context: SpanContext | None,
        parent: SpanContext | None,
        began: int,
        attributes: dict[str, Any],
        error: str | None = None,
        link: SpanContext | None = None,
        events: Iterable[tuple[str, int]] = (),
    ) -> None:
        """Keep a span that ends now, to be sent; ``began`` in Unix nanoseconds. ``error`` is its ``error.type``."""
        if error is not None:
            attributes["error.type"] = error
        span = ReadableSpan(
            name,
            context,
            parent,
            self._resource,
            attributes,
            [Event(event, timestamp=at) for event, at in events],
            () if link is None else (Link(link),),
            _KINDS[name],
            status=_OK if error is None else _ERROR,
            start_time=began,
            end_time=time.time_ns(),
            instrumentation_scope=self._scope,
        )
        if self.delivery.admit():
            self._processor.on_end(span)

    def record_within(
        self, name: str, parent: SpanContext, began: int, attributes: dict[str, Any], error: str | None
    ) -> None:
        """The same for a child of a span that is recorded."""
        context = SpanContext(parent.trace_id, self._ids.generate_span_id(), False, _RECORDED, parent.trace_state)  # noqa: FBT003
        self.record(name, context, parent, began, attributes, error)

    def record_session(
        self,
        opening: SpanContext | None,
        began: int,
        attributes: dict[str, Any],
        error: str | None,
        events: Iterable[tuple[str, int]],
    ) -> None:
        """The span of an open tunnel, recorded if and only if that of its opening was: nobody samples again."""
        if self._session == "off" or opening is None or not opening.trace_flags.sampled:
            return
        name, is_child = "sokken.session", self._session == "child"
        trace_id = opening.trace_id if is_child else self._ids.generate_trace_id()
        context = SpanContext(trace_id, self._ids.generate_span_id(), False, _RECORDED, opening.trace_state)  # noqa: FBT003
        if is_child:
            self.record(name, context, opening, began, attributes, error, events=events)
        else:
            self.record(name, context, None, began, attributes, error, opening, events)

    def close(self) -> None:
        """Send what waits; blocks as long as the collector makes it."""
        self.delivery.hurry()
        self._processor.shutdown()  # type: ignore[no-untyped-call]
