"""`sokken server`: from settings to an exit code."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from sokken import __version__
from sokken.admin.door import Door, open_door
from sokken.admin.health import add_health_routes
from sokken.lifecycle import Signals, drain, freeze_startup, raise_descriptor_limit
from sokken.lifecycle import run as run_loop
from sokken.protocol.handshake import Fields
from sokken.protocol.outcomes import Reason, Refusal
from sokken.protocol.policy import Policy
from sokken.server.admission import Admission
from sokken.server.authentication import Authentication, open_authentication, open_tls
from sokken.server.greeting import Greeting
from sokken.server.policy_file import open_policy
from sokken.server.request import TunnelRequest
from sokken.server.revocation import Revocation
from sokken.server.tunnel import Tunnels
from sokken.settings import OpenTelemetry, ServerSettings, UnknownSetting, read_opentelemetry
from sokken.settings.catalogue import shown_settings
from sokken.telemetry import logs
from sokken.telemetry.open import open_telemetry
from sokken.transport.connections import Connections
from sokken.transport.files import Watched, WatchedFile, watch
from sokken.transport.gauges import watch_connections, watch_files
from sokken.transport.http import HttpService, Stage
from sokken.transport.listen import bind, bound_address, is_loopback
from sokken.transport.plane import Plane
from sokken.transport.proxy_accept import ProxyHeaderReader
from sokken.transport.tls import TlsFiles
from sokken.transport.tls_accept import TlsAcceptor

log = logs.get_logger("server")


def run(settings: ServerSettings, warnings: Sequence[UnknownSetting]) -> int:
    """Serve until a signal; returns the exit code. Raises ConfigurationError before anything is served."""
    asked = read_opentelemetry()
    logs.configure(settings, "server", __version__, asked.service_name)
    logs.install_exception_hooks()
    raise_descriptor_limit()
    for unknown in warnings:
        log.warning("unknown_setting", name=unknown.name, suggestion=unknown.suggestion)
    trust = open_trust(settings)
    sockets = bind(settings.api_addr, "API_ADDR", defers=True)
    door = open_door(settings)
    log.info(
        "server_listening",
        listen=str(bound_address(sockets, settings.api_addr)),
        targets=[str(target) for target in settings.targets],
        **({"policy_file": str(settings.policy_file)} if settings.policy_file else {}),
        max_connections=settings.max_connections,
        tls=trust.tls is not None,
    )
    if not trust.authentication.is_enabled and not all(map(is_loopback, sockets)):
        log.warning(
            "authentication_disabled",
            detail="whoever reaches this address may have a tunnel; SOKKEN_TOKENS_FILE is one way to change that",
        )
    return run_loop(lambda: _serve(settings, asked, trust, sockets, door), settings.event_loop)


@dataclass(frozen=True, slots=True)
class Trust:
    """Who may come in and reach what, made before anything listens."""

    tls: TlsFiles | None
    authentication: Authentication
    policy: Policy | WatchedFile[Policy]

    @property
    def files(self) -> list[WatchedFile[Any]]:
        """All that was read of files."""
        found = [*self.authentication.files, *(self.tls.files if self.tls else ()), self.policy]
        return [file for file in found if isinstance(file, WatchedFile)]


def open_trust(settings: ServerSettings) -> Trust:
    """As the settings have it; raises ConfigurationError for what is configured and cannot work."""
    policy = open_policy(settings.policy_file, settings.targets)
    return Trust(open_tls(settings), open_authentication(settings), policy)


async def _serve(
    settings: ServerSettings, asked: OpenTelemetry, trust: Trust, sockets: list[socket.socket], door: Door
) -> int:
    loop = asyncio.get_running_loop()
    plane = Plane(loop, masks=False, message_bytes=settings.max_message_bytes)
    connections = Connections(settings.max_connections)
    signals = Signals(loop)
    telemetry = open_telemetry(asked, settings, "server", __version__, is_scraped=bool(door.sockets))
    if telemetry.metrics is not None:
        watch_connections(telemetry.metrics, connections, plane)
        watch_files(telemetry.metrics, [*trust.files, *door.files])
    authentication, policy = trust.authentication, trust.policy
    admission = Admission(policy, connections, settings.handshake_rate_per_address)
    watched: list[Watched] = list(authentication.files)
    if trust.tls is not None:
        watched.append(trust.tls)
    if isinstance(policy, WatchedFile):
        watched.append(Revocation(policy, admission, connections, settings.revoke_grace_seconds))

    def not_ready() -> str | None:
        return "draining" if signals.is_leaving else authentication.problem

    async with asyncio.TaskGroup() as tasks:
        greeting = Greeting(admission, settings.trusted_proxies, is_secure=trust.tls is not None)
        tunnels = Tunnels(plane, settings, authentication, greeting, admission, connections, tasks, telemetry.trails)
        app = web.Application()
        add_health_routes(app, connections, not_ready)
        stages = _stages(plane, settings, trust.tls, greeting)
        services = [serve_tunnels(plane, app, sockets, tunnels, settings.base_path, stages)]
        if door.sockets:
            # Takes time to load, and few have one.
            from sokken.admin.routes import Admin
            from sokken.admin.status import Program

            program = Program(
                role="server",
                settings=shown_settings(settings),
                connections=connections,
                not_ready=not_ready,
                leaving_since=lambda: signals.asked_at,
                drain=settings,
                files=[*trust.files, *door.files],
            )
            services.append(HttpService(plane, Admin(door, program, telemetry.metrics).app(), door.sockets))
        for service in services:
            await service.start()
        freeze_startup()
        watching = [tasks.create_task(watch(watched, settings.reload_interval_seconds))]
        if authentication.published is not None:
            watching.append(tasks.create_task(authentication.published.run()))
        await signals.wait()
        await drain(settings, connections, close_door=lambda: None)  # from here on tunnels are answered 503
        for service in services:
            await service.close()
        for task in watching:
            task.cancel()
    await telemetry.close()
    plane.close()
    return 0


def _stages(plane: Plane, settings: ServerSettings, tls: TlsFiles | None, greeting: Greeting) -> list[Stage]:
    """What an accepted connection goes through before its first request is read."""
    stages: list[Stage] = []
    if settings.proxy_protocol == "required":
        proxies = settings.trusted_proxies
        stages.append(lambda channel, peer, then: ProxyHeaderReader(plane, proxies, channel, peer, then))
    if tls is not None:
        stages.append(greeting.greet_connection)
        seconds = settings.tls_handshake_timeout_seconds
        stages.append(lambda channel, peer, then: TlsAcceptor(plane, tls.context, channel, peer, then, seconds))
    return stages


def serve_tunnels(
    plane: Plane,
    app: web.Application,
    sockets: list[socket.socket],
    tunnels: Tunnels,
    base_path: str = "",
    stages: Sequence[Stage] = (),
) -> HttpService:
    """Serve ``app``, and tunnels under ``base_path``."""
    prefix = f"{base_path}/tunnel/"

    async def check(request: web.Request) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        channel, peer = transport.get_extra_info("socket"), transport.get_extra_info("peername")
        asked = request.match_info["target"]
        fields = Fields.of(request.headers.items())
        return await tunnels.check(TunnelRequest(asked, request.version, fields, channel, peer))

    async def refuse(request: web.Request) -> web.StreamResponse:  # noqa: ARG001 -- whatever it says
        raise Refusal(Reason.BAD_REQUEST, "a request for a tunnel must be well-formed in every way")

    app.router.add_head(prefix + "{target:.*}", check)
    app.router.add_get(prefix + "{target:.*}", refuse, allow_head=False)
    return HttpService(plane, app, sockets, stages, partial(tunnels.upgrade, prefix))
