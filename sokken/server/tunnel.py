"""One tunnel at the server, from the request's head to the relay: identify, admit, dial, upgrade, relay, tell."""

import asyncio
import random
import socket
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Protocol

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from sokken.protocol.address import Address
from sokken.protocol.handshake import (
    SUBPROTOCOL_V1,
    format_switching_protocols,
    validate_origin,
    validate_upgrade_request,
)
from sokken.protocol.identity import CONNECTION_ID, Claims, parse_claims
from sokken.protocol.outcomes import Outcome, Reason, Refusal
from sokken.server.admission import Admission
from sokken.telemetry.logs import get_logger
from sokken.transport.connections import Connection, Connections, new_connection_id
from sokken.transport.dial import DialError, DialFailure, dial
from sokken.transport.http import answer_refusal
from sokken.transport.plane import Plane
from sokken.transport.relay import Relay
from sokken.transport.resolve import Resolver
from sokken.transport.upgrade import HttpTransport

log = get_logger("tunnel")

_REASONS: Final = {
    DialFailure.DNS: Reason.TARGET_DNS,
    DialFailure.REFUSED: Reason.TARGET_REFUSED,
    DialFailure.UNREACHABLE: Reason.TARGET_UNREACHABLE,
    DialFailure.TIMEOUT: Reason.TARGET_TIMEOUT,
    DialFailure.EXHAUSTED: Reason.SERVER_FULL,  # nothing is wrong with the target, and a moment later there may be room
}


class TunnelSettings(Protocol):
    """What a tunnel needs to know of the settings."""

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """Pages that may open tunnels."""

    @property
    def target_timeout_seconds(self) -> float:
        """For dialling."""

    @property
    def half_closed_timeout_seconds(self) -> float:
        """For a half-closed connection over which nothing moves."""


class Detached(web.Response):
    """The answer to a request whose connection is no longer HTTP: nothing is left for aiohttp to send."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002
        """Send nothing."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Send nothing."""


class Tunnels:
    """Answers ``GET`` and ``HEAD`` on ``/tunnel/HOST:PORT``."""

    def __init__(self, plane: Plane, settings: TunnelSettings, admission: Admission, connections: Connections) -> None:
        self._plane = plane
        self._settings = settings
        self._admission = admission
        self._connections = connections
        self._resolver = Resolver(plane.loop)

    async def check(self, request: web.Request) -> web.StreamResponse:
        """Would a tunnel be let in? Nothing is dialled, and nothing counts as a connection."""
        connection_id = parse_claims(request.headers).connection_id or new_connection_id()
        try:
            validate_origin(request.headers, self._settings.allowed_origins)
            self._admission.decide(_asked(request))
        except Refusal as refusal:
            log.info(
                "check_refused",
                connection_id=connection_id,
                peer=request.remote,
                target=_asked(request),
                reason=refusal.reason,
            )
            return answer_refusal(refusal, connection_id)
        return web.Response(status=204, headers={CONNECTION_ID: connection_id})

    async def open(self, request: web.Request) -> web.StreamResponse:
        """Open a tunnel, or refuse it."""
        claims = parse_claims(request.headers)
        connection_id = claims.connection_id or new_connection_id()
        story = {
            "connection_id": connection_id,
            "client_id": claims.client_id,
            "peer": _peer(request),
            "target": _asked(request),
        }
        try:
            return await self._open(request, claims, connection_id)
        except Refusal as refusal:
            log.warning("connection_refused", **story, reason=refusal.reason, detail=refusal.detail)
            return answer_refusal(refusal, connection_id)
        except ConnectionResetError:
            log.info("connection_abandoned", **story, outcome=Outcome.PEER_RESET)
            return Detached()

    async def _open(self, request: web.Request, claims: Claims, connection_id: str) -> web.StreamResponse:
        key, subprotocol = validate_upgrade_request(request.version, request.headers, self._settings.allowed_origins)
        target = self._admission.decide(_asked(request))
        connection = Connection(
            self._connections,
            connection_id,
            claims.client_id and sys.intern(claims.client_id),
            _peer(request),
            target,
            _labels(claims.tunnel, claims.version, request.headers.get("X-Forwarded-For", "")[:200]),
        )
        self._connections.admit(connection)
        try:
            relay, tail = await self._connect(request, target, connection, subprotocol)
        except BaseException:
            self._connections.release(connection)
            raise
        self._connections.open(connection, relay)
        relay.start(tail, format_switching_protocols(key, subprotocol, {CONNECTION_ID: connection_id}))
        if self._connections.is_draining:
            relay.go_away()
        return Detached(status=101)

    async def _connect(
        self, request: web.Request, target: Address, connection: Connection, subprotocol: str
    ) -> tuple[Relay, bytes]:
        transport = request.transport
        if not isinstance(transport, HttpTransport):
            raise ConnectionResetError("the client has gone")
        local = await self._dial(target, connection, transport)
        try:
            peer, tail = transport.detach()
        except BaseException:
            local.close()
            raise
        relay = Relay(
            self._plane,
            local,
            peer,
            original=subprotocol == SUBPROTOCOL_V1,
            half_closed_seconds=self._settings.half_closed_timeout_seconds,
            spread=random.random(),  # noqa: S311 -- spreads pings, hides nothing
            owner=connection,
        )
        return relay, tail

    async def _dial(self, target: Address, connection: Connection, transport: HttpTransport) -> socket.socket:
        """Dial, unless the client resets its connection first, or the drain time is over."""
        try:
            async with asyncio.timeout(None) as patience:
                connection.give_up = lambda: patience.reschedule(self._plane.loop.time())
                transport.on_lost = connection.give_up
                return await dial(self._resolver, target, self._settings.target_timeout_seconds)
        except DialError as error:
            raise Refusal(_REASONS[error.failure], error.detail) from None
        except TimeoutError:
            if transport.is_closing():
                raise ConnectionResetError("the client has gone") from None
            raise Refusal(Reason.DRAINING, "this server ends before its target has answered") from None
        finally:
            transport.on_lost = None


def _asked(request: web.Request) -> str:
    return request.match_info["target"]


def _peer(request: web.Request) -> str:
    return str(request.transport.get_extra_info("peername") if request.transport else request.remote)


@lru_cache(maxsize=256)
def _labels(tunnel: str | None, version: str | None, forwarded_for: str) -> Mapping[str, str]:
    """What else the log says: only what was told. Cached, because many connections come from few clients."""
    labels = {"tunnel": tunnel, "client_version": version, "forwarded_for": forwarded_for}
    return {name: value for name, value in labels.items() if value}
