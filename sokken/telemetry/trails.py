"""The trails of connections whose traces or metrics somebody wants: the spans of each end, and what is counted.

Made by open.py. Names, parentage, attributes and what is an error are contracts (docs/observability.md). A span is
drafted after it has ended, of what the trail knows anyway: until then it is a few numbers.
"""

import socket
import time
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

from sokken.protocol.address import Address, Forward
from sokken.protocol.identity import ANONYMOUS, Claims, Identity
from sokken.protocol.outcomes import Outcome
from sokken.protocol.trace_context import TRACE_PARENT, TRACE_RESPONSE, TRACE_STATE, TraceContext
from sokken.telemetry.drafts import Draft, Value
from sokken.telemetry.instruments import (
    CONNECT_DURATION,
    DURATION,
    RECONNECTS,
    REJECTED,
    Attributes,
    forward_attributes,
)
from sokken.telemetry.metrics import Metrics
from sokken.telemetry.trail import NOTHING, Stage, Trail, Trails

if TYPE_CHECKING:  # it loads OpenTelemetry: not where only metrics are wanted
    from sokken.telemetry.spans import Spans

_SWITCHING: Final = 101
_SERVER_ERROR: Final = 500
_MAX_TEXT: Final = 256


class Stopwatch:
    """Times the stages of one attempt, for ``sokken.connect.duration``."""

    __slots__ = ("_began", "_metrics", "_stage")

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._stage: Stage | None = None
        self._began = 0.0

    def enter(self, stage: Stage | None, error: str | None = None) -> None:
        """End the present stage, well or with an error, and begin the next one."""
        now = time.monotonic()
        if self._stage is not None:
            self._metrics.record(CONNECT_DURATION, now - self._began, _stage_attributes(self._stage, error))
        self._stage, self._began = stage, now


@lru_cache(maxsize=256)
def _stage_attributes(stage: Stage, error: str | None) -> Attributes:
    named = (("stage", stage.value),)
    return named if error is None else (*named, ("error.type", error))


class LiveTrail(Trail):
    """What both ends' trails have in common. ``labels`` are the attributes of its metrics.

    ``_context`` names the span that opening the tunnel is; ``_spans`` is None where it is not recorded.
    """

    __slots__ = ("_began", "_context", "_events", "_id", "_labels", "_metrics", "_opened", "_spans", "_watch")

    def __init__(self, metrics: Metrics | None, spans: "Spans | None", labels: Attributes, connection_id: str) -> None:
        self._id = connection_id
        self._metrics = metrics
        self._spans = spans
        self._labels = labels
        self._watch = None if metrics is None else Stopwatch(metrics)
        self._context: TraceContext | None = None
        self._events: tuple[tuple[str, int], ...] = ()
        self._began = self._opened = 0 if spans is None else time.time_ns()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._id} {self._context}>"

    @property
    def ids(self) -> Mapping[str, str]:
        """Of the span that opening the tunnel is, also once that has ended: they are the same at all times.

        A trace that is not recorded has nothing to look up.
        """
        context = self._context
        if context is None or not context.is_recorded:
            return NOTHING
        return {"trace_id": context.trace_id, "span_id": context.span_id, "trace_flags": "01"}

    def enter(self, stage: Stage) -> None:
        """Time it."""
        if self._watch is not None:
            self._watch.enter(stage)

    def retry(self, error: str) -> None:
        """Count it."""
        if self._watch is not None and self._metrics is not None:
            self._watch.enter(None, error)
            self._metrics.count(RECONNECTS, self._labels)

    def fail(self, error: str, status: int | None = None) -> None:
        """Count it, and end the span."""
        if self._watch is not None and self._metrics is not None:
            self._watch.enter(None, error)
            self._metrics.count(REJECTED, _with(self._labels, "error.type", error))
        if self._spans is not None:
            self._end_opening(self._spans, time.time_ns(), error, status)

    def open(self) -> None:
        """End the span: from here on it is a session."""
        if self._watch is not None:
            self._watch.enter(None)
        if self._spans is not None:
            self._opened = time.time_ns()
            self._end_opening(self._spans, self._opened, None, _SWITCHING)

    def half_close(self, direction: str) -> None:
        """Note when."""
        if self._spans is not None:
            self._events += ((f"{direction}_ended", time.time_ns()),)

    def close(self, outcome: str, up: int, down: int, seconds: float) -> None:
        """Count it, and make the session's span: recorded if the opening's was, nobody samples again."""
        if self._metrics is not None:
            self._metrics.record(DURATION, seconds, _with(self._labels, "outcome", outcome))
        if self._spans is not None and self._spans.session != "off":
            self._spans.keep(partial(self._draft_session, time.time_ns(), outcome, up, down))

    # Drafts are made on the sender's thread, when nothing here changes any more.

    def _draft_session(self, ended: int, outcome: str, up: int, down: int, spans: "Spans") -> Draft:
        opening, is_child = self._opening, spans.session == "child"
        context = spans.start_child(opening) if is_child else spans.start_beside(opening)
        attributes: dict[str, Value] = {
            "sokken.connection.id": self._id,
            "sokken.outcome": outcome,
            "sokken.bytes.up": up,
            "sokken.bytes.down": down,
        }
        parent, link = (opening, None) if is_child else (None, opening)
        error = None if outcome == Outcome.COMPLETED else outcome
        return Draft("sokken.session", context, parent, self._opened, ended, attributes, error, link, self._events)

    @property
    def _opening(self) -> TraceContext:
        """The span's name, where there is one."""
        if self._context is None:
            raise RuntimeError("there is no span")
        return self._context

    def _end_opening(self, spans: "Spans", now: int, error: str | None, status: int | None) -> None:
        spans.keep(partial(self._draft_opening, now, error, status))

    def _draft_opening(self, ended: int, error: str | None, status: int | None, spans: "Spans") -> Draft:
        raise NotImplementedError


@lru_cache(maxsize=4096)
def _with(labels: Attributes, name: str, value: str) -> Attributes:
    return (*labels, (name, value))


class ClientTrail(LiveTrail):
    """From an application's connection to its tunnel: the span ``sokken.connect``."""

    __slots__ = ("_attempts", "_facts", "_propagates")

    def __init__(
        self,
        metrics: Metrics | None,
        spans: "Spans | None",
        labels: Attributes,
        facts: Mapping[str, Value],
        connection_id: str,
    ) -> None:
        super().__init__(metrics, spans, labels, connection_id)
        self._facts = facts
        self._attempts = 1
        self._propagates = spans is not None and spans.propagates
        if spans is not None:
            self._context = spans.start("sokken.connect", facts)
            if not self._context.is_recorded:
                self._spans = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The trace that the server continues: also that it is not recorded, if it is not."""
        context = self._context
        if context is None or not self._propagates:
            return NOTHING
        state = {TRACE_STATE: context.state} if context.state else NOTHING
        return {TRACE_PARENT: str(context), **state}

    def retry(self, error: str) -> None:
        """One more attempt, under the same span."""
        self._attempts += 1
        super().retry(error)

    def _draft_opening(
        self,
        ended: int,
        error: str | None,
        status: int | None,
        spans: "Spans",  # noqa: ARG002 -- the server's needs it
    ) -> Draft:
        attributes = {**self._facts, "sokken.connection.id": self._id, "sokken.attempt": self._attempts}
        if status is not None:
            attributes["http.response.status_code"] = status
        return Draft("sokken.connect", self._opening, None, self._began, ended, attributes, error)


class ServerTrail(LiveTrail):
    """From a request to its tunnel: the spans ``sokken.accept`` and, within it, ``sokken.target.connect``."""

    __slots__ = ("_claims", "_dialled_at", "_identity", "_link", "_parent", "_peer", "_request", "_target", "_trails")

    def __init__(
        self, trails: "LiveTrails", headers: Mapping[str, str], peer: str, claims: Claims, connection_id: str
    ) -> None:
        super().__init__(trails.metrics, trails.spans, (), connection_id)
        self._trails = trails
        self._request = headers
        self._peer = peer
        self._claims = claims
        self._identity = ANONYMOUS
        self._parent: TraceContext | None = None
        self._link: TraceContext | None = None
        self._target: Address | None = None
        self._dialled_at = 0

    @property
    def headers(self) -> Mapping[str, str]:
        """Under which trace the server has recorded it, for the client's log."""
        context = self._context
        return NOTHING if context is None or not context.is_recorded else {TRACE_RESPONSE: str(context)}

    def identify(self, identity: Identity) -> None:
        """A client that is known may continue its own trace."""
        self._identity = identity
        self._begin_span()

    def dial(self, target: Address) -> None:
        """Begin to time it."""
        if self._watch is not None:
            self._watch.enter(Stage.TARGET)
        if self._spans is not None:
            self._target, self._dialled_at = target, time.time_ns()

    def reach(self, local: socket.socket) -> None:
        """End the span of the target."""
        if self._watch is not None:
            self._watch.enter(None)
        if self._spans is not None:
            self._end_target(self._spans, None, local.getpeername()[0])

    def fail(self, error: str, status: int | None = None) -> None:
        """It may be refused before it is known who it is."""
        self._begin_span()
        super().fail(error, status)

    def _begin_span(self) -> None:
        spans = self._spans
        if spans is None or self._context is not None:
            return
        sent = spans.read_parent(self._request)
        if sent is not None and self._trails.trusts(self._identity):
            self._parent = sent
        else:
            self._link = sent
        self._context = spans.start("sokken.accept", _REQUEST, self._parent)
        if not self._context.is_recorded:
            self._spans = None

    def _end_target(self, spans: "Spans", error: str | None, reached: str = "") -> None:
        target, self._target = self._target, None
        if target is not None:
            spans.keep(partial(self._draft_target, time.time_ns(), target, error, reached))

    def _draft_target(self, ended: int, target: Address, error: str | None, reached: str, spans: "Spans") -> Draft:
        attributes: dict[str, Value] = {
            "server.address": target.host,
            "server.port": target.port,
            "network.transport": "tcp",
        }
        if reached:
            attributes["network.peer.address"] = reached
        parent, began = self._opening, self._dialled_at
        return Draft("sokken.target.connect", spans.start_child(parent), parent, began, ended, attributes, error)

    def _end_opening(self, spans: "Spans", now: int, error: str | None, status: int | None) -> None:
        self._end_target(spans, error)
        super()._end_opening(spans, now, error, status)

    def _draft_opening(self, ended: int, error: str | None, status: int | None, spans: "Spans") -> Draft:
        attributes = {**_REQUEST, **self._describe(spans)}
        if status is not None:
            attributes["http.response.status_code"] = status
        if error is not None and status is not None and status < _SERVER_ERROR:
            attributes["sokken.reason"] = error  # the client's fault: no error of the server's span
            error = None
        began, link = self._began, self._link
        return Draft("sokken.accept", self._opening, self._parent, began, ended, attributes, error, link)

    def _describe(self, spans: "Spans") -> dict[str, Value]:
        claims, identity = self._claims, self._identity
        attributes: dict[str, Value] = {
            "http.route": self._trails.route,
            "sokken.connection.id": self._id,
            "sokken.auth.method": identity.method,
            **spans.read_baggage(self._request),
        }
        if identity is not ANONYMOUS:
            attributes["sokken.client.id"] = identity.name
        if claims.client_id:
            attributes["sokken.client.claimed_id"] = claims.client_id
        if agent := self._request.get("User-Agent"):
            attributes["user_agent.original"] = agent[:_MAX_TEXT]
        if self._trails.shows_clients:
            attributes["client.address"] = self._peer.rpartition(":")[0].strip("[]")
        return attributes


_REQUEST: Final[Mapping[str, Value]] = {"http.request.method": "GET"}


class LiveTrails(Trails):
    """Begins trails. ``tunnel`` is the name that a client has, ``route`` the path that a server serves."""

    __slots__ = ("_trust", "_tunnel", "metrics", "route", "shows_clients", "spans")

    def __init__(
        self,
        metrics: Metrics | None,
        spans: "Spans | None",
        *,
        tunnel: str | None = None,
        route: str = "",
        trust: str = "never",
        shows_clients: bool = False,
    ) -> None:
        """``trust``: whose traces are continued, ``authenticated``, ``always`` or ``never``."""
        self.metrics = metrics
        self.spans = spans
        self.route = route
        self.shows_clients = shows_clients
        self._tunnel = tunnel
        self._trust = trust

    def trusts(self, identity: Identity) -> bool:
        """Whether this client's trace is continued, with its word on whether it is recorded."""
        return self._trust == "always" or (self._trust == "authenticated" and identity is not ANONYMOUS)

    def of_forward(self, forward: Forward) -> Callable[[str], Trail]:
        """For a client's connections."""
        labels = forward_attributes(forward.name, self._tunnel)
        facts: dict[str, Value] = {
            "server.address": forward.url.host,
            "server.port": forward.url.port,
            "url.scheme": "wss" if forward.url.secure else "ws",
            "sokken.forward.name": forward.name,
        }
        if self._tunnel:
            facts["sokken.tunnel.name"] = self._tunnel
        return lambda connection_id: ClientTrail(self.metrics, self.spans, labels, facts, connection_id)

    def of_request(self, headers: Mapping[str, str], peer: str, claims: Claims, connection_id: str) -> Trail:
        """For a request at a server."""
        return ServerTrail(self, headers, peer, claims, connection_id)
