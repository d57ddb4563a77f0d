"""One forward: each connection that is accepted on its listen address gets its own tunnel.

The story of one connection at the client: accept, count, connect (the application waits, unread), relay, tell.
"""

import asyncio
import random
import socket
from typing import Protocol

from sokken.client.connect import ConnectError, Connector, Opened
from sokken.protocol.address import Forward
from sokken.protocol.handshake import SUBPROTOCOL_V1, Answer
from sokken.protocol.outcomes import ConnectOutcome, Outcome, Reason
from sokken.protocol.trace_context import TRACE_RESPONSE, parse_trace_context
from sokken.telemetry.logs import get_logger
from sokken.telemetry.trail import NO_TRAILS, Trails
from sokken.transport.connections import Connection, Connections, new_connection_id
from sokken.transport.eager import start
from sokken.transport.plane import Plane
from sokken.transport.relay import Relay

log = get_logger("forward")


class ForwardSettings(Protocol):
    """What a forward needs to know of the settings."""

    @property
    def client_id(self) -> str:
        """Who this client says it is."""

    @property
    def half_closed_timeout_seconds(self) -> float:
        """For a half-closed connection over which nothing moves."""


class Forwarder:
    """Tunnels the connections of one forward."""

    def __init__(
        self,
        forward: Forward,
        plane: Plane,
        settings: ForwardSettings,
        connector: Connector,
        connections: Connections,
        tasks: asyncio.TaskGroup,
        trails: Trails = NO_TRAILS,
    ) -> None:
        self._url = forward.url
        self._target = forward.url.target
        self._labels = {"forward": forward.name, "server": str(forward.url)}
        self._plane = plane
        self._settings = settings
        self._connector = connector
        self._connections = connections
        self._tasks = tasks
        self._begin_trail = trails.of_forward(forward)

    def accept(self, local: socket.socket, peer: str) -> None:
        """Take an application's connection, or reset it when there are too many."""
        connection_id = new_connection_id()
        connection = Connection(
            self._connections,
            connection_id,
            self._settings.client_id,
            peer,
            self._target,
            self._labels,
            is_up_outward=True,
            trail=self._begin_trail(connection_id),
        )
        if self._connections.is_full:
            self._give_up(
                connection, local, Reason.CLIENT_FULL, f"all {self._connections.limit} connections are in use"
            )
            return
        self._connections.admit(connection)
        task = start(self._tasks, self._tunnel(connection, local))
        if task is not None:
            connection.give_up = task.cancel

    async def _tunnel(self, connection: Connection, local: socket.socket) -> None:
        try:
            opened = await self._connect(connection, local)
        except ConnectError as error:
            self._give_up(connection, local, error.outcome, error.detail, error.answer)
        except asyncio.CancelledError:
            if connection.is_killed:
                self._give_up(connection, local, Outcome.KILLED, "it was aborted at the admin address")
            else:
                self._give_up(connection, local, Outcome.DRAIN_DEADLINE, "the client is ending")
            raise
        except Exception:
            log.exception("connection_failed", **connection.describe(), outcome=Outcome.INTERNAL_ERROR)
            connection.trail.fail(Outcome.INTERNAL_ERROR)
            local.close()
            self._connections.release(connection)
        else:
            self._relay(connection, local, opened)

    async def _connect(self, connection: Connection, local: socket.socket) -> Opened:
        """Connect while the application waits; only its reset gives up early, its end of writing does not."""
        was_reset = False

        def on_reset() -> None:
            nonlocal was_reset
            was_reset = connection.give_up is not None and bool(connection.give_up())

        self._plane.watch.errors(local, on_reset)
        try:
            return await self._connector.open(self._url, connection.id, connection.trail)
        except asyncio.CancelledError:
            self._plane.watch.remove(local)
            task = asyncio.current_task()
            # It could have been cancelled by somebody else, too: then that is what happens.
            if task is None or not was_reset or task.uncancel():
                raise
            detail = "the application reset its connection while it waited"
            raise ConnectError(ConnectOutcome.LOCAL_GAVE_UP, detail, retry=False) from None
        except BaseException:
            self._plane.watch.remove(local)
            raise  # else the relay is told from here on

    def _relay(self, connection: Connection, local: socket.socket, opened: Opened) -> None:
        relay = Relay(
            self._plane,
            local,
            opened.channel,
            original=opened.subprotocol == SUBPROTOCOL_V1,
            half_closed_seconds=self._settings.half_closed_timeout_seconds,
            spread=random.random(),  # noqa: S311 -- spreads pings, hides nothing
            owner=connection,
        )
        self._connections.open(connection, relay)
        relay.start(opened.tail)
        if self._connections.is_draining:
            relay.go_away()
        self._connections.tell(connection)

    def _give_up(
        self, connection: Connection, local: socket.socket, outcome: str, detail: str, answer: Answer | None = None
    ) -> None:
        """Reset the application's connection, and say why in one line."""
        local.close()
        there = parse_trace_context(answer.headers.get(TRACE_RESPONSE, "")) if answer else None
        quoted = {"server_trace_id": there.trace_id} if there else {}
        log.warning("connection_failed", **connection.describe(), outcome=outcome, detail=detail, **quoted)
        connection.trail.fail(outcome, None if answer is None else answer.status)
        self._connections.fail(outcome)
        self._connections.release(connection)
