"""One tunnel at the server, from the request's head to the relay: identify, admit, dial, upgrade, relay, tell."""

import asyncio
import random
import socket
import sys
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache, partial
from typing import Final, Protocol

from aiohttp import web

from sokken.protocol.address import Address, mask_user
from sokken.protocol.forwarded import Networks
from sokken.protocol.handshake import (
    SUBPROTOCOL_V1,
    Request,
    find_target,
    format_refusal,
    format_switching_protocols,
    validate_origin,
    validate_upgrade_request,
)
from sokken.protocol.identity import CONNECTION_ID, Claims, Identity, parse_claims
from sokken.protocol.outcomes import Outcome, Reason, Refusal
from sokken.protocol.proxy_header import encode_proxy_header
from sokken.server.admission import Admission, Admitted
from sokken.server.authentication import Authentication
from sokken.server.greeting import Greeting
from sokken.server.origin import Origin, find_origin
from sokken.server.request import TunnelRequest
from sokken.telemetry.logs import get_logger
from sokken.telemetry.trail import NO_TRAILS, Trail, Trails
from sokken.transport.channel import Channel
from sokken.transport.connections import Connection, Connections, new_connection_id
from sokken.transport.dial import DialError, DialFailure, dial
from sokken.transport.eager import start
from sokken.transport.http import answer_refusal, format_fault
from sokken.transport.leave import Leave
from sokken.transport.plane import Plane
from sokken.transport.relay import Relay
from sokken.transport.resolve import Resolver
from sokken.transport.upgrade import Take

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
    def trusted_proxies(self) -> Networks:
        """Who is believed about the client's address."""

    @property
    def target_timeout_seconds(self) -> float:
        """For dialling."""

    @property
    def half_closed_timeout_seconds(self) -> float:
        """For a half-closed connection over which nothing moves."""


class Tunnels:
    """Answers ``GET`` and ``HEAD`` on ``/tunnel/HOST:PORT``; every tunnel that is being opened is one of ``tasks``."""

    def __init__(
        self,
        plane: Plane,
        settings: TunnelSettings,
        authentication: Authentication,
        greeting: Greeting,
        admission: Admission,
        connections: Connections,
        tasks: asyncio.TaskGroup,
        trails: Trails = NO_TRAILS,
    ) -> None:
        self._plane = plane
        self._trails = trails
        self._settings = settings
        self._authentication = authentication
        self._greeting = greeting
        self._admission = admission
        self._connections = connections
        self._tasks = tasks
        self._resolver = Resolver(plane.loop)

    def upgrade(self, prefix: str, request: Request) -> Take | None:
        """Take the connection of a request for a tunnel, whose path starts with ``prefix``."""
        asked = find_target(request.target, prefix) if request.method == "GET" else None
        return None if asked is None else partial(self._take, request, asked)

    def _take(self, request: Request, asked: str, channel: Channel, peer: str, tail: bytes) -> None:
        asking = TunnelRequest(asked, request.version, request.fields, channel, peer)
        start(self._tasks, self.open(asking, tail))

    async def check(self, request: TunnelRequest) -> web.StreamResponse:
        """Would a tunnel be let in? Nothing is dialled, and nothing counts as a connection."""
        connection_id = parse_claims(request.headers).connection_id or new_connection_id()
        origin = find_origin(request, self._settings.trusted_proxies)
        try:
            self._greeting.greet_request(origin)
            validate_origin(request.headers, self._settings.allowed_origins)
            self._admission.decide(request.asked, await self._authentication.identify(request))
        except Refusal as refusal:
            log.info(
                "check_refused",
                connection_id=connection_id,
                **_describe(origin),
                target=mask_user(request.asked),
                reason=refusal.reason,
                detail=refusal.detail,
                **({"cause": refusal.cause} if refusal.cause else {}),
            )
            return answer_refusal(refusal, connection_id)
        return web.Response(status=204, headers={CONNECTION_ID: connection_id})

    async def open(self, request: TunnelRequest, tail: bytes) -> None:
        """Open a tunnel, or refuse it; the connection is no longer the caller's."""
        claims = parse_claims(request.headers)
        connection_id = claims.connection_id or new_connection_id()
        origin = find_origin(request, self._settings.trusted_proxies)
        story: dict[str, object] = {
            "connection_id": connection_id,
            "client_id": claims.client_id,
            **_describe(origin),
            "target": mask_user(request.asked),
        }
        trail = self._trails.of_request(request.headers, origin.peer, claims, connection_id)
        try:
            await self._open(request, tail, claims, origin, story, trail)
        except Refusal as refusal:
            trail.fail(refusal.reason, refusal.status)
            story |= {"cause": refusal.cause} if refusal.cause else {}
            self._connections.fail(refusal.reason)
            log.warning("connection_refused", **story, **trail.ids, reason=refusal.reason, detail=refusal.detail)
            headers = {CONNECTION_ID: connection_id, "Date": formatdate(usegmt=True), **trail.headers}
            Leave(self._plane, request.channel, format_refusal(refusal, headers))
        except ConnectionResetError:
            trail.fail(Outcome.PEER_RESET)
            log.info("connection_abandoned", **story, **trail.ids, outcome=Outcome.PEER_RESET)
            request.channel.close()
        except asyncio.CancelledError:
            request.channel.close()
            raise
        except Exception:
            trail.fail(Outcome.INTERNAL_ERROR)
            log.exception("request_failed", **story, **trail.ids)
            Leave(self._plane, request.channel, format_fault(connection_id))

    async def _open(
        self,
        request: TunnelRequest,
        tail: bytes,
        claims: Claims,
        origin: Origin,
        story: dict[str, object],
        trail: Trail,
    ) -> None:
        self._greeting.greet_request(origin)
        key, subprotocol = validate_upgrade_request(request.version, request.headers, self._settings.allowed_origins)
        identity = await self._authentication.identify(request)
        story |= _proof(identity)
        trail.identify(identity)
        admitted = self._admission.decide(request.asked, identity)
        connection_id = str(story["connection_id"])
        connection = Connection(
            self._connections,
            connection_id,
            claims.client_id and sys.intern(claims.client_id),
            origin.peer,
            admitted.target,
            _labels(identity, claims.tunnel, claims.version, origin.via, origin.forwarded_for),
            identity=identity,
            trail=trail,
        )
        self._connections.admit(connection)
        try:
            relay = await self._connect(request.channel, admitted, connection, subprotocol)
        except BaseException:
            self._connections.release(connection)
            raise
        self._connections.open(connection, relay)
        headers = {CONNECTION_ID: connection_id, **trail.headers}
        relay.start(tail, format_switching_protocols(key, subprotocol, headers))
        if self._connections.is_draining:
            relay.go_away()
        self._connections.tell(connection)

    async def _connect(self, channel: Channel, admitted: Admitted, connection: Connection, subprotocol: str) -> Relay:
        connection.trail.dial(admitted.target)
        local = await self._dial(channel, admitted, connection)
        try:
            connection.trail.reach(local)
            connection.dialled = self._admission.confirm(admitted, local)
            if admitted.limits.proxy_protocol:
                _announce(local, connection, channel)
        except BaseException:
            local.close()
            raise
        relay = Relay(
            self._plane,
            local,
            channel,
            original=subprotocol == SUBPROTOCOL_V1,
            half_closed_seconds=self._settings.half_closed_timeout_seconds,
            spread=random.random(),  # noqa: S311 -- spreads pings, hides nothing
            owner=connection,
        )
        relay.limit(admitted.limits.idle_seconds, admitted.limits.lifetime_seconds)
        return relay

    async def _dial(self, channel: Channel, admitted: Admitted, connection: Connection) -> socket.socket:
        """Dial, unless the client resets its connection first, or the drain time is over."""
        check = partial(self._admission.check_addresses, admitted)
        waiting = _Waiting(self._plane, channel)
        connection.give_up = waiting.give_up
        try:
            return await dial(
                self._resolver, admitted.target, self._settings.target_timeout_seconds, check, waiting.begin
            )
        except DialError as error:
            if waiting.is_abandoned:
                raise ConnectionResetError("the client has gone") from None
            if connection.is_killed:
                detail = "whoever runs this server has ended the attempt to reach the target"
                raise Refusal(Reason.TARGET_TIMEOUT, detail) from None
            if waiting.is_given_up:
                raise Refusal(Reason.DRAINING, "this server ends before its target has answered") from None
            raise Refusal(_REASONS[error.failure], error.detail) from None
        finally:
            waiting.end()


class _Waiting:
    """What may end a dial early: the client's reset, or the end of the drain time."""

    __slots__ = ("_channel", "_patience", "_plane", "is_abandoned", "is_given_up")

    def __init__(self, plane: Plane, channel: Channel) -> None:
        self._plane = plane
        self._channel = channel
        self._patience: asyncio.Timeout | None = None
        self.is_abandoned = self.is_given_up = False

    def begin(self, patience: asyncio.Timeout) -> None:
        """Called by the dial if it must wait: most targets nearby are there at once, and nothing is watched."""
        self._patience = patience
        self._plane.watch.errors(self._channel, self._on_reset)

    def end(self) -> None:
        """The dial is over."""
        if self._patience is not None:
            self._plane.watch.remove(self._channel)

    def give_up(self) -> None:
        """The drain time is over."""
        self.is_given_up = True
        self._stop()

    def _on_reset(self) -> None:
        self.is_abandoned = True
        self._stop()

    def _stop(self) -> None:
        if self._patience is not None:
            self._patience.reschedule(self._plane.loop.time())


def _announce(local: socket.socket, connection: Connection, channel: Channel) -> None:
    """Tell the target who its client is, before its first byte; raises Refusal."""
    host, _, port = connection.peer.rpartition(":")
    client, server = Address(host.strip("[]"), int(port)), Address(*channel.getsockname()[:2])
    header = encode_proxy_header(client, server, connection.id.encode("ascii"))
    try:
        sent = local.send(header)
    except OSError as error:
        sent, problem = 0, str(error.strerror).lower()
    else:
        problem = "it took no bytes"
    if sent != len(header):  # into an empty send buffer all of it goes at once
        raise Refusal(Reason.TARGET_UNREACHABLE, f"{connection.target}: {problem}")


def _describe(origin: Origin) -> dict[str, str]:
    return {"peer": origin.peer, "via": origin.via} if origin.via else {"peer": origin.peer}


@lru_cache(maxsize=256)
def _proof(identity: Identity) -> Mapping[str, str]:
    """What the log says of a verified identity; what the client claims of itself stands apart."""
    proof = {"identity": identity.name, "identity_method": identity.method, "identity_detail": identity.detail}
    return {name: value for name, value in proof.items() if value}


@lru_cache(maxsize=256)
def _labels(
    identity: Identity, tunnel: str | None, version: str | None, via: str, forwarded_for: str
) -> Mapping[str, str]:
    """What else the log says: only what was told. Cached, because many connections come from few clients."""
    labels = {"via": via, "tunnel": tunnel, "client_version": version, "forwarded_for": forwarded_for}
    labels |= _proof(identity)
    return {name: value for name, value in labels.items() if value}
