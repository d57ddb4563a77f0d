"""What is measured: every metric's name, kind, unit and meaning, as OpenTelemetry spells them.

Names and attributes are contracts (docs/observability.md). Used by metrics.py, which keeps the numbers. Attributes
have few values by nature: never an id, a peer's address, or a name that a client chose.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


class Kind(Enum):
    """How a metric's values go on."""

    COUNTER = auto()
    """Only up."""
    LEVEL = auto()
    """Up and down, and adds up over processes."""
    GAUGE = auto()
    """Up and down, and does not add up."""
    HISTOGRAM = auto()


@dataclass(frozen=True, slots=True, eq=False)
class Instrument:
    """One metric. ``unit`` is UCUM's; ``bounds`` are the upper bounds of a histogram's buckets."""

    name: str
    kind: Kind
    unit: str
    description: str
    bounds: tuple[float, ...] = ()


Attributes = tuple[tuple[str, str], ...]
"""Names and values of one series, always in the same order."""


def forward_attributes(forward: str, tunnel: str | None) -> Attributes:
    """What tells a client's connections apart; a server knows no forwards (``""``)."""
    if not forward:
        return ()
    named = (("forward", forward),)
    return (*named, ("tunnel", tunnel)) if tunnel else named


ACTIVE: Final = Instrument("sokken.connection.active", Kind.LEVEL, "{connection}", "Connections whose tunnel is open.")
PENDING: Final = Instrument(
    "sokken.session.pending", Kind.LEVEL, "{connection}", "Connections that are admitted and have no tunnel yet."
)
DURATION: Final = Instrument(
    "sokken.connection.duration",
    Kind.HISTOGRAM,
    "s",
    "How long tunnels were open.",
    (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400),
)
REJECTED: Final = Instrument(
    "sokken.connection.rejected", Kind.COUNTER, "{connection}", "Connections that got no tunnel."
)
IO: Final = Instrument("sokken.connection.io", Kind.COUNTER, "By", "Payload, counted while connections live.")
CONNECT_DURATION: Final = Instrument(
    "sokken.connect.duration",
    Kind.HISTOGRAM,
    "s",
    "How long the stages of opening a tunnel took.",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
BUFFER_USAGE: Final = Instrument(
    "sokken.buffer.usage", Kind.LEVEL, "By", "Bytes that are held for sockets which do not take them."
)
PING_RTT: Final = Instrument(
    "sokken.ping.rtt",
    Kind.HISTOGRAM,
    "s",
    "From a ping to its pong, over the WebSocket.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
LOOP_LAG: Final = Instrument(
    "sokken.process.loop_lag",
    Kind.HISTOGRAM,
    "s",
    "How much later than asked the event loop came to a timer.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
SERVER_REACHABLE: Final = Instrument(
    "sokken.server.reachable", Kind.GAUGE, "", "1 if the last check of the server passed, else 0."
)
RECONNECTS: Final = Instrument(
    "sokken.client.reconnects", Kind.COUNTER, "{attempt}", "Attempts to open a tunnel after the first one failed."
)
LAST_RELOAD: Final = Instrument(
    "sokken.credentials.last_reload.timestamp", Kind.GAUGE, "s", "When a file's content in force was read, Unix time."
)
NOT_AFTER: Final = Instrument(
    "sokken.certificate.not_after.timestamp", Kind.GAUGE, "s", "When a certificate of ours expires, Unix time."
)
DRAINING: Final = Instrument("sokken.draining", Kind.GAUGE, "", "1 while the process drains, else 0.")
DRAIN_REMAINING: Final = Instrument(
    "sokken.drain.remaining", Kind.GAUGE, "s", "Seconds until a drain ends the connections that are left."
)
SPANS_DROPPED: Final = Instrument(
    "sokken.span.dropped", Kind.COUNTER, "{span}", "Spans that were recorded, or were to be, and were not delivered."
)
RECONCILE_DURATION: Final = Instrument(
    "sokken.operator.reconcile.duration",
    Kind.HISTOGRAM,
    "s",
    "How long making a Tunnel true took.",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
QUEUE_DEPTH: Final = Instrument(
    "sokken.operator.queue.depth", Kind.LEVEL, "{tunnel}", "Tunnels that are due and wait for a worker."
)
LEADER: Final = Instrument(
    "sokken.operator.leader", Kind.GAUGE, "", "1 if this operator is the one that works, else 0."
)
WATCH_AGE: Final = Instrument(
    "sokken.operator.watch.age", Kind.GAUGE, "s", "Seconds since a watch of the API server last told anything."
)
TUNNELS: Final = Instrument(
    "sokken.operator.tunnels", Kind.LEVEL, "{tunnel}", "Tunnels, by the status of their condition Ready."
)
API_FAILURES: Final = Instrument(
    "sokken.operator.api.failures", Kind.COUNTER, "{request}", "Requests to the API server that did not succeed."
)


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a histogram knows of one series; ``counts`` has one more than there are bounds."""

    counts: tuple[int, ...]
    total: float
    smallest: float
    largest: float


@dataclass(frozen=True, slots=True)
class Reading:
    """One metric at one moment."""

    instrument: Instrument
    series: Mapping[Attributes, float | Distribution]
