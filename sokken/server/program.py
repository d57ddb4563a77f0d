"""`sokken server`: from settings to an exit code."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from sokken import __version__
from sokken.admin.door import Door, open_door
from sokken.admin.health import add_health_routes
from sokken.admin.routes import Admin
from sokken.admin.status import Program
from sokken.lifecycle import Signals, drain, freeze_startup, raise_descriptor_limit
from sokken.lifecycle import run as run_loop
from sokken.protocol.policy import Policy
from sokken.server.admission import Admission
from sokken.server.authentication import Authentication, open_authentication, open_tls
from sokken.server.policy_file import open_policy
from sokken.server.revocation import Revocation
from sokken.server.tunnel import Tunnels
from sokken.settings import ServerSettings, UnknownSetting
from sokken.settings.catalogue import shown_settings
from sokken.telemetry import logs
from sokken.transport.connections import Connections
from sokken.transport.files import WatchedFile, watch
from sokken.transport.http import HttpService, Stage
from sokken.transport.listen import bind, bound_address, is_loopback
from sokken.transport.plane import Plane
from sokken.transport.proxy_accept import ProxyHeaderReader
from sokken.transport.tls import TlsFiles
from sokken.transport.tls_accept import TlsAcceptor

log = logs.get_logger("server")


def run(settings: ServerSettings, warnings: Sequence[UnknownSetting]) -> int:
    """Serve until a signal; returns the exit code. Raises ConfigurationError before anything is served."""
    logs.configure(settings, "server", __version__)
    logs.install_exception_hooks()
    raise_descriptor_limit()
    for unknown in warnings:
        log.warning("unknown_setting", name=unknown.name, suggestion=unknown.suggestion)
    trust = open_trust(settings)
    sockets = bind(settings.api_addr, "API_ADDR")
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
    return run_loop(lambda: _serve(settings, trust, sockets, door), settings.event_loop)


@dataclass(frozen=True, slots=True)
class Trust:
    """Who may come in and reach what, made before anything listens."""

    tls: TlsFiles | None
    authentication: Authentication
    policy: Policy | WatchedFile[Policy]


def open_trust(settings: ServerSettings) -> Trust:
    """As the settings have it; raises ConfigurationError for what is configured and cannot work."""
    policy = open_policy(settings.policy_file, settings.targets)
    return Trust(open_tls(settings), open_authentication(settings), policy)


async def _serve(settings: ServerSettings, trust: Trust, sockets: list[socket.socket], door: Door) -> int:
    loop = asyncio.get_running_loop()
    plane = Plane(loop, masks=False, message_bytes=settings.max_message_bytes)
    connections = Connections(settings.max_connections)
    signals = Signals(loop)
    authentication, policy = trust.authentication, trust.policy
    admission = Admission(policy, connections, settings.handshake_rate_per_address)
    watched = list(authentication.files)
    if trust.tls is not None:
        watched.append(trust.tls)
    if isinstance(policy, WatchedFile):
        watched.append(Revocation(policy, admission, connections, settings.revoke_grace_seconds))
    files = [*authentication.files, *(trust.tls.files if trust.tls else ()), *door.files]
    files += [policy] if isinstance(policy, WatchedFile) else []
    tunnels = Tunnels(plane, settings, authentication, admission, connections)

    def not_ready() -> str | None:
        return "draining" if signals.is_leaving else authentication.problem

    app = web.Application()
    add_health_routes(app, connections, not_ready)
    add_tunnel_routes(app, tunnels, settings.base_path)
    services = [HttpService(plane, app, sockets, _stages(plane, settings, trust.tls))]
    if door.sockets:
        program = Program(
            role="server",
            settings=shown_settings(settings),
            connections=connections,
            not_ready=not_ready,
            leaving_since=lambda: signals.asked_at,
            drain=settings,
            files=files,
        )
        services.append(HttpService(plane, Admin(door, program).app(), door.sockets))
    for service in services:
        await service.start()
    freeze_startup()
    async with asyncio.TaskGroup() as tasks:
        watching = [tasks.create_task(watch(watched, settings.reload_interval_seconds))]
        if authentication.published is not None:
            watching.append(tasks.create_task(authentication.published.run()))
        await signals.wait()
        await drain(settings, connections, close_door=lambda: None)  # from here on tunnels are answered 503
        for service in services:
            await service.close()
        for task in watching:
            task.cancel()
    plane.close()
    return 0


def _stages(plane: Plane, settings: ServerSettings, tls: TlsFiles | None) -> list[Stage]:
    """What an accepted connection goes through before its first request is read."""
    stages: list[Stage] = []
    if settings.proxy_protocol == "required":
        proxies = settings.trusted_proxies
        stages.append(lambda channel, peer, then: ProxyHeaderReader(plane, proxies, channel, peer, then))
    if tls is not None:
        seconds = settings.tls_handshake_timeout_seconds
        stages.append(lambda channel, peer, then: TlsAcceptor(plane, tls.context, channel, peer, then, seconds))
    return stages


def add_tunnel_routes(app: web.Application, tunnels: Tunnels, base_path: str) -> None:
    """Serve tunnels under ``base_path``."""
    path = base_path + "/tunnel/{target:.*}"
    app.router.add_get(path, tunnels.open, allow_head=False)
    app.router.add_head(path, tunnels.check)
