"""Spans by OpenTelemetry's SDK: its sampler, its resource, its data and its exporter.

Imported only by open.py, where an endpoint is configured, because it takes time to load. The SDK's own tracer is not
used: a span of it, made for attributes that come one by one from many threads, costs the event loop ten times as much
as a ``Draft``, which becomes a span of the SDK's only on the thread that sends it.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from opentelemetry import baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from sokken.protocol.trace_context import TraceContext, read_trace_context
from sokken.telemetry.delivery import SpanDelivery
from sokken.telemetry.drafts import Draft, Value
from sokken.telemetry.resource import make_resource

_KINDS: Final = {
    "sokken.connect": SpanKind.CLIENT,
    "sokken.accept": SpanKind.SERVER,
    "sokken.target.connect": SpanKind.CLIENT,
    "sokken.session": SpanKind.INTERNAL,
    "sokken.reconcile": SpanKind.INTERNAL,
}
_MAX_BAGGAGE: Final = 8192  # bytes (W3C Baggage section 3.3.2)
_MAX_VALUE: Final = 256
_FLAGS: Final = {True: TraceFlags(TraceFlags.SAMPLED), False: TraceFlags(TraceFlags.DEFAULT)}
_STATUSES: Final = {True: Status(StatusCode.ERROR), False: Status(StatusCode.UNSET)}


class Spans:
    """The spans of one process. ``session`` is ``link``, ``child`` or ``off``."""

    def __init__(
        self,
        role: str,
        version: str,
        delivery: "SpanDelivery[Callable[[Spans], Draft]]",
        *,
        session: str,
        propagates: bool = True,
        baggage_keys: Sequence[str] = (),
    ) -> None:
        """Raises what the SDK does for variables of its own that cannot work."""
        self.session = session
        self.propagates = propagates
        self.delivery = delivery
        self._baggage_keys = baggage_keys
        self._baggage = W3CBaggagePropagator()
        self._scope = InstrumentationScope("sokken", version)
        provider = TracerProvider(resource=make_resource(role, version), shutdown_on_exit=False)
        self._resource, self._sampler = provider.resource, provider.sampler
        delivery.start(self._build)

    def __repr__(self) -> str:
        return f"<Spans {self.delivery!r}>"

    def start(self, name: str, attributes: Mapping[str, Value], parent: TraceContext | None = None) -> TraceContext:
        """A new span's name, in the parent's trace or in one of its own; the sampler says whether it is recorded.

        None is while too many wait to be sent: to make one costs, and half of a trace helps nobody.
        """
        trace_id = f"{random.getrandbits(128):032x}" if parent is None else parent.trace_id
        if self._sampler is DEFAULT_ON:  # unless somebody has asked for another: worth a short way
            is_recorded, state = (True, "") if parent is None else (parent.is_recorded, parent.state)
        else:
            is_recorded, state = self._ask_sampler(name, trace_id, attributes, parent)
        return TraceContext(trace_id, _new_span_id(), is_recorded and self.delivery.has_room(), state)

    def start_child(self, parent: TraceContext) -> TraceContext:
        """A span's name within a span of ours, whose sampling it shares."""
        return parent._replace(span_id=_new_span_id())

    def start_beside(self, other: TraceContext) -> TraceContext:
        """The same in a trace of its own."""
        return other._replace(trace_id=f"{random.getrandbits(128):032x}", span_id=_new_span_id())

    def read_parent(self, headers: Mapping[str, str]) -> TraceContext | None:
        """Whose child a request says that it is."""
        return read_trace_context(headers) if self.propagates else None

    def read_baggage(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """The entries of a request's baggage that are wanted, as attributes."""
        sent = headers.get("baggage", "") if self._baggage_keys else ""
        if not sent or len(sent) > _MAX_BAGGAGE:
            return {}
        found = baggage.get_all(self._baggage.extract({"baggage": sent}, Context()))
        return {f"baggage.{key}": str(found[key])[:_MAX_VALUE] for key in self._baggage_keys if key in found}

    def keep(self, make: Callable[["Spans"], Draft]) -> None:
        """Send it soon; ``make`` is called on the sender's thread."""
        self.delivery.put(make)

    def close(self) -> None:
        """Send what waits; blocks as long as the collector makes it."""
        self.delivery.close()

    def _ask_sampler(
        self, name: str, trace_id: str, attributes: Mapping[str, Value], parent: TraceContext | None
    ) -> tuple[bool, str]:
        within = Context()
        if parent is not None:
            within = set_span_in_context(NonRecordingSpan(_convert(parent, is_remote=True)), within)
        verdict = self._sampler.should_sample(within, int(trace_id, 16), name, _KINDS[name], attributes)
        state = verdict.trace_state.to_header() if verdict.trace_state else ""
        return verdict.decision is Decision.RECORD_AND_SAMPLE, state

    def _build(self, make: Callable[["Spans"], Draft]) -> ReadableSpan:
        draft = make(self)
        error, link = draft.error, draft.link
        return ReadableSpan(
            draft.name,
            _convert(draft.context),
            None if draft.parent is None else _convert(draft.parent, is_remote=draft.name == "sokken.accept"),
            self._resource,
            draft.attributes if error is None else {**draft.attributes, "error.type": error},
            [Event(event, timestamp=at) for event, at in draft.events],
            () if link is None else (Link(_convert(link)),),
            _KINDS[draft.name],
            status=_STATUSES[error is not None],
            start_time=draft.began,
            end_time=draft.ended,
            instrumentation_scope=self._scope,
        )


def _new_span_id() -> str:
    return f"{random.getrandbits(64):016x}"


def _convert(context: TraceContext, *, is_remote: bool = False) -> SpanContext:
    members = (member.strip(" \t").partition("=") for member in context.state.split(",") if member.strip(" \t"))
    return SpanContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        is_remote,
        _FLAGS[context.is_recorded],
        TraceState([(key, value) for key, _, value in members]) if context.state else None,
    )
