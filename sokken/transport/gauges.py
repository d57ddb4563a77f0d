"""What metrics read of the transport's objects whenever somebody asks for the numbers.

Called by the two programs at start, and only where there are metrics. Every value is read on the event loop's thread:
the longest, the sum over all live connections, takes some milliseconds for ten thousand of them.
"""

import time
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, Final

from sokken.telemetry.instruments import (
    ACTIVE,
    BUFFER_USAGE,
    DRAIN_REMAINING,
    DRAINING,
    IO,
    LAST_RELOAD,
    NOT_AFTER,
    PENDING,
    PING_RTT,
    Attributes,
    Instrument,
    forward_attributes,
)
from sokken.telemetry.metrics import Metrics
from sokken.transport.connections import Connections, Load
from sokken.transport.files import WatchedFile
from sokken.transport.plane import Plane
from sokken.transport.tls import KeyPair

_NOTHING: Final = Load()

Point = tuple[Instrument, Attributes, float]


def watch_connections(
    metrics: Metrics,
    connections: Connections,
    plane: Plane,
    forwards: Sequence[str] = ("",),
    tunnel: str | None = None,
) -> None:
    """Connections, their bytes, buffers, pings and the drain.

    ``forwards`` are the names of a client's, which are there from the start, and ``tunnel`` its own name.
    """
    plane.on_pong = partial(metrics.record, PING_RTT)

    def read() -> Iterator[Point]:
        loads = connections.loads()
        for forward in dict.fromkeys((*forwards, *loads)):
            load = loads.get(forward, _NOTHING)
            attributes = forward_attributes(forward, tunnel)
            yield ACTIVE, attributes, load.active
            yield PENDING, attributes, load.pending
            yield IO, (*attributes, ("network.io.direction", "transmit")), load.sent
            yield IO, (*attributes, ("network.io.direction", "receive")), load.received
        yield BUFFER_USAGE, (), plane.parked
        yield DRAINING, (), int(connections.is_draining)
        ends_at = connections.drain_ends_at
        yield DRAIN_REMAINING, (), 0 if ends_at is None else max(0, ends_at - time.monotonic())

    metrics.observe(read)


def watch_files(metrics: Metrics, files: Sequence[WatchedFile[Any]]) -> None:
    """When the files in force were read, and when the certificates among them expire."""
    # Takes time to load, and the loop should not wait for it later.
    from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415

    @lru_cache(maxsize=8)
    def expiry_of(certificate: bytes) -> float:
        return load_pem_x509_certificate(certificate).not_valid_after_utc.timestamp()

    def read() -> Iterator[Point]:
        for file in files:
            if file.read_at is None:
                continue
            kind = (("kind", file.kind),)
            yield LAST_RELOAD, kind, file.read_at
            if isinstance(file.value, KeyPair):
                yield NOT_AFTER, kind, expiry_of(file.value.certificate)

    metrics.observe(read)
