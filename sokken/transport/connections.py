"""All tunnelled connections of a process: counted from admission to the end, told to the log, drained together.

The server and the client each have one ``Connections``; nothing else counts, and nothing else logs how a
connection began and ended.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from sokken.protocol.address import Address
from sokken.protocol.identity import ANONYMOUS, Identity, format_uuid7
from sokken.protocol.outcomes import Outcome
from sokken.telemetry.logs import get_logger
from sokken.telemetry.trail import NO_TRAIL, Trail
from sokken.transport.relay import Relay

T = TypeVar("T")

_RANDOM_BYTES: Final = 10

log = get_logger("connection")


def new_connection_id() -> str:
    """A UUIDv7: unique, and sorted by time."""
    return format_uuid7(time.time_ns() // 1_000_000, os.urandom(_RANDOM_BYTES))


@dataclass(slots=True, eq=False)
class Connection:
    """One tunnelled connection, from its admission on. ``up`` is toward the target, at both ends.

    ``peer`` is who connected here, ``labels`` what else the log says of it (forward, server, tunnel …); many
    connections share one such mapping.
    """

    connections: "Connections"
    id: str
    client_id: str | None
    peer: str
    target: Address | str | None
    labels: Mapping[str, str]
    is_up_outward: bool = False
    identity: Identity = ANONYMOUS
    """Who the client was proved to be, at the server."""
    admitted_at: float = field(default_factory=time.monotonic)
    opened_at: float | None = None
    relay: Relay | None = None
    is_told: bool = False
    """The log has been told that its tunnel is up."""
    dialled: str | None = None
    """The target's address, if it is to be judged again."""
    trail: Trail = NO_TRAIL
    """What it leaves in traces and metrics."""
    give_up: Callable[[], object] | None = None
    """Ends the attempt to connect, while there is no relay yet."""
    is_killed: bool = False
    """Somebody who runs this program wants it ended."""

    @property
    def bytes_up(self) -> int:
        """Payload toward the target so far."""
        if self.relay is None:
            return 0
        return self.relay.bytes_out if self.is_up_outward else self.relay.bytes_in

    @property
    def bytes_down(self) -> int:
        """Payload toward the application so far."""
        if self.relay is None:
            return 0
        return self.relay.bytes_in if self.is_up_outward else self.relay.bytes_out

    @property
    def half_closed(self) -> str | None:
        """While it is half-closed, the direction that has ended: ``up`` or ``down``."""
        side = None if self.relay is None else self.relay.session.ended_side
        if side is None:
            return None
        return "up" if (side == "local") == self.is_up_outward else "down"

    def kill(self) -> None:
        """End it, whatever it is doing, and have both ends told: its outcome is ``killed``."""
        self.is_killed = True
        if self.relay is not None:
            self.relay.end(Outcome.KILLED)
        elif self.give_up is not None:
            self.give_up()

    def peer_drains(self) -> None:
        """Called by its relay: worth a line; the connection goes on."""
        log.info("peer_draining", **self.describe())

    def direction_ended(self, *, by_peer: bool) -> None:
        """Called by its relay."""
        self.trail.half_close("down" if by_peer == self.is_up_outward else "up")

    def ended(self) -> None:
        """Called by its relay."""
        self.connections.close(self)

    def describe(self) -> dict[str, object]:
        """What every log line about it carries."""
        return {
            "connection_id": self.id,
            "client_id": self.client_id,
            "peer": self.peer,
            "target": None if self.target is None else str(self.target),
            **self.labels,
            **self.trail.ids,
        }


@dataclass(slots=True)
class Ended:
    """What has been since the start: how many ended with which outcome, and the payload that they carried."""

    outcomes: dict[str, int] = field(default_factory=dict)
    bytes_up: int = 0
    bytes_down: int = 0


@dataclass(slots=True)
class Load:
    """How many connections a forward has (all, at a server), and the payload of all that it ever had."""

    active: int = 0
    pending: int = 0
    sent: int = 0
    """Into WebSockets, in bytes."""
    received: int = 0
    """Out of them."""


class Connections:
    """The live ones. ``limit`` is how many there may be at once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.ended = Ended()
        self.opened = 0
        """How many tunnels have been up since the start."""
        self.failed: dict[str, int] = {}
        """How many connections got no tunnel, by the reason."""
        self.is_draining = False
        self.drain_ends_at: float | None = None
        """When a drain ends what is left (time.monotonic), once there is one."""
        self._live: set[Connection] = set()
        self._past: dict[str, Load] = {}
        self._of_identity: dict[str, int] = {}
        self._of_target: dict[Address | str | None, int] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __repr__(self) -> str:
        return f"<Connections {len(self._live)} of {self.limit}{' draining' * self.is_draining}>"

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._live))

    @property
    def is_full(self) -> bool:
        """Whether no further connection may be admitted."""
        return len(self._live) >= self.limit

    def loads(self) -> dict[str, Load]:
        """What each forward carries and has carried (``""`` stands for all of a server's connections).

        Looks at every live connection: for who asks now and then.
        """
        loads = {name: replace(load) for name, load in self._past.items()}
        for connection in self._live:
            name = connection.labels.get("forward", "")
            load = loads.get(name) or loads.setdefault(name, Load())
            relay = connection.relay
            if relay is None:
                load.pending += 1
            else:
                load.active += 1
                load.sent += relay.bytes_out
                load.received += relay.bytes_in
        return loads

    def of_identity(self, name: str) -> int:
        """How many a verified identity has."""
        return self._of_identity.get(name, 0)

    def of_target(self, target: Address) -> int:
        """How many there are to a target."""
        return self._of_target.get(target, 0)

    def admit(self, connection: Connection) -> None:
        """Count it from here on."""
        self._live.add(connection)
        _count_up(self._of_identity, connection.identity.name)
        _count_up(self._of_target, connection.target)
        self._empty.clear()

    def release(self, connection: Connection) -> None:
        """Count it no longer."""
        if connection in self._live:
            self._live.remove(connection)
            _count_down(self._of_identity, connection.identity.name)
            _count_down(self._of_target, connection.target)
        if not self._live:
            self._empty.set()

    def fail(self, reason: str) -> None:
        """One has got no tunnel."""
        _count_up(self.failed, reason)

    def open(self, connection: Connection, relay: Relay) -> None:
        """Its tunnel is up; ``tell`` is to follow, once the first bytes are on their way."""
        connection.relay, connection.give_up = relay, None
        connection.opened_at = time.monotonic()
        self.opened += 1

    def tell(self, connection: Connection) -> None:
        """The line that says that its tunnel is up."""
        if not connection.is_told:
            connection.is_told = True
            connection.trail.open()
            log.info("connection_opened", **connection.describe())

    def close(self, connection: Connection) -> None:
        """Its tunnel has ended: the one line that says everything about it."""
        relay, now = connection.relay, time.monotonic()
        if relay is None:
            return
        self.tell(connection)
        session = relay.session
        _count_up(self.ended.outcomes, session.outcome or "")
        self.ended.bytes_up += connection.bytes_up
        self.ended.bytes_down += connection.bytes_down
        past = self._past.setdefault(connection.labels.get("forward", ""), Load())
        past.sent += relay.bytes_out
        past.received += relay.bytes_in
        seconds = now - (connection.opened_at or now)
        connection.trail.close(session.outcome or "", connection.bytes_up, connection.bytes_down, seconds)
        detail = {"detail": session.detail} if session.detail else {}
        log.info(
            "connection_closed",
            **connection.describe(),
            bytes_up=connection.bytes_up,
            bytes_down=connection.bytes_down,
            duration_s=round(seconds, 6),
            outcome=session.outcome,
            close_code=session.close_code,
            **detail,
        )
        self.release(connection)

    def go_away(self) -> None:
        """Tell every peer that this end is draining."""
        self.is_draining = True
        for connection in self:
            if connection.relay is not None:
                connection.relay.go_away()

    def end_drain(self) -> None:
        """The drain time is over: end what is left."""
        for connection in self:
            if connection.relay is not None:
                connection.relay.end_drain()
            elif connection.give_up is not None:
                connection.give_up()

    async def wait_empty(self) -> None:
        """Until the last one has ended."""
        await self._empty.wait()


def _count_up(counts: dict[T, int], key: T) -> None:
    counts[key] = counts.get(key, 0) + 1


def _count_down(counts: dict[T, int], key: T) -> None:
    """Nothing is kept of what is there no more."""
    left = counts.pop(key) - 1
    if left:
        counts[key] = left
