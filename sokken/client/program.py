"""`sokken client`: from settings to an exit code.

It listens before most of its modules are loaded: a connection that comes meanwhile waits in the accept queue.
"""

import asyncio
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sokken import __version__
from sokken.admin.door import Door, open_door
from sokken.protocol.address import Forward
from sokken.settings import ClientSettings, OpenTelemetry, UnknownSetting, read_opentelemetry
from sokken.telemetry import logs
from sokken.transport.credentials import refuse_plaintext
from sokken.transport.listen import Listener, bind, bound_address, is_loopback

if TYPE_CHECKING:  # they take time to load
    from sokken.admin.status import Program
    from sokken.telemetry.metrics import Metrics
    from sokken.transport.http import HttpService
    from sokken.transport.plane import Plane

log = logs.get_logger("client")


def run(settings: ClientSettings, warnings: Sequence[UnknownSetting]) -> int:
    """Listen and tunnel until a signal; returns the exit code. Raises ConfigurationError before that."""
    asked = read_opentelemetry()
    logs.configure(settings, "client", __version__, asked.service_name)
    logs.install_exception_hooks()
    for unknown in warnings:
        log.warning("unknown_setting", name=unknown.name, suggestion=unknown.suggestion)
    refuse_plaintext(settings)
    if settings.tls_insecure_skip_verify:
        log.warning("tls_not_verified", detail="SOKKEN_TLS_INSECURE_SKIP_VERIFY is set: anybody may be the server")
    bound = []
    for forward in settings.forwards:
        sockets = bind(forward.listen, f"forward {forward.name}")
        bound.append(sockets)
        listen = str(bound_address(sockets, forward.listen))
        log.info("forward_listening", listen=listen, url=str(forward.url), forward=forward.name)
    api_sockets = bind(settings.api_addr, "API_ADDR")
    log.info("health_listening", listen=str(bound_address(api_sockets, settings.api_addr)))
    door = open_door(settings)

    from sokken.lifecycle import raise_descriptor_limit
    from sokken.lifecycle import run as run_loop

    raise_descriptor_limit()
    return run_loop(lambda: _serve(settings, asked, bound, api_sockets, door), settings.event_loop)


async def _serve(
    settings: ClientSettings,
    asked: OpenTelemetry,
    bound: list[list[socket.socket]],
    api_sockets: list[socket.socket],
    door: Door,
) -> int:
    from sokken.admin.status import Program
    from sokken.client.check import ServerCheck, describe_missing, watch_checks
    from sokken.client.connect import Connector
    from sokken.client.forward import Forwarder
    from sokken.lifecycle import Signals, drain, freeze_startup
    from sokken.settings.catalogue import shown_settings
    from sokken.telemetry.open import open_telemetry
    from sokken.transport.connections import Connections
    from sokken.transport.gauges import watch_connections, watch_files
    from sokken.transport.plane import Plane

    loop = asyncio.get_running_loop()
    plane = Plane(loop, masks=True, message_bytes=settings.max_message_bytes)
    connections = Connections(settings.max_connections)
    signals = Signals(loop)
    connector = Connector(plane, settings)
    urls = dict.fromkeys(forward.url for forward in settings.forwards)
    telemetry = open_telemetry(asked, settings, "client", __version__, is_scraped=door.is_configured)
    checks = [ServerCheck(connector, url, settings.check_interval_seconds) for url in urls]

    if telemetry.metrics is not None:
        names = [forward.name for forward in settings.forwards]
        watch_connections(telemetry.metrics, connections, plane, names, settings.tunnel_name)
        watch_files(telemetry.metrics, [*connector.credentials.files, *door.files])
        watch_checks(telemetry.metrics, checks, settings.tunnel_name)

    def not_ready() -> str | None:
        if signals.is_leaving:
            return "draining"
        return describe_missing(checks) if settings.readiness == "server" else None

    def begin(forward: Forward, tasks: asyncio.TaskGroup) -> Forwarder:
        return Forwarder(forward, plane, settings, connector, connections, tasks, telemetry.trails)

    program = Program(
        role="client",
        settings=shown_settings(settings),
        connections=connections,
        not_ready=not_ready,
        leaving_since=lambda: signals.asked_at,
        drain=settings,
        files=[*connector.credentials.files, *door.files],
        checks=checks,
    )
    services = _open_services(plane, door, program, telemetry.metrics, api_sockets)
    async with asyncio.TaskGroup() as tasks:
        listeners = [
            Listener(loop, sockets, begin(forward, tasks).accept)
            for forward, sockets in zip(settings.forwards, bound, strict=True)
        ]
        for service in services:
            await service.start()
        freeze_startup()
        checking = [tasks.create_task(check.run()) for check in checks]

        def close_door() -> None:
            for listener in listeners:
                listener.close()

        await signals.wait()
        await drain(settings, connections, close_door)
        for task in checking:
            task.cancel()
    for service in services:
        await service.close()
    await telemetry.close()
    plane.close()
    return 0


def _open_services(
    plane: "Plane", door: Door, program: "Program", metrics: "Metrics | None", api_sockets: list[socket.socket]
) -> "list[HttpService]":
    """What is served over HTTP: on API_ADDR the admin routes too, if no stranger reaches them there."""
    from aiohttp import web

    from sokken.admin.health import add_health_routes
    from sokken.admin.routes import Admin
    from sokken.transport.http import HttpService

    admin = Admin(door, program, metrics)
    if door.token is not None or all(map(is_loopback, api_sockets)):
        app = admin.app()
    else:
        app = web.Application()
        add_health_routes(app, program.connections, program.not_ready)
    services = [HttpService(plane, app, api_sockets)]
    if door.sockets:
        services.append(HttpService(plane, admin.app(), door.sockets))
    return services
