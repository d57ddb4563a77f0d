"""`sokken server`: from settings to an exit code."""

import asyncio
import socket
from collections.abc import Sequence

from aiohttp import web

from sokken import __version__
from sokken.admin.health import add_health_routes
from sokken.lifecycle import Signals, drain, freeze_startup, raise_descriptor_limit
from sokken.lifecycle import run as run_loop
from sokken.server.admission import Admission
from sokken.server.tunnel import Tunnels
from sokken.settings import ServerSettings, UnknownSetting
from sokken.telemetry import logs
from sokken.transport.connections import Connections
from sokken.transport.http import HttpService
from sokken.transport.listen import bind, bound_address
from sokken.transport.plane import Plane

log = logs.get_logger("server")


def run(settings: ServerSettings, warnings: Sequence[UnknownSetting]) -> int:
    """Serve until a signal; returns the exit code. Raises ConfigurationError before anything is served."""
    logs.configure(settings, "server", __version__)
    logs.install_exception_hooks()
    raise_descriptor_limit()
    for unknown in warnings:
        log.warning("unknown_setting", name=unknown.name, suggestion=unknown.suggestion)
    sockets = bind(settings.api_addr, "API_ADDR")
    log.info(
        "server_listening",
        listen=str(bound_address(sockets, settings.api_addr)),
        targets=[str(target) for target in settings.targets],
        max_connections=settings.max_connections,
    )
    return run_loop(lambda: _serve(settings, sockets), settings.event_loop)


async def _serve(settings: ServerSettings, sockets: list[socket.socket]) -> int:
    loop = asyncio.get_running_loop()
    plane = Plane(loop, masks=False, message_bytes=settings.max_message_bytes)
    connections = Connections(settings.max_connections)
    signals = Signals(loop)
    tunnels = Tunnels(plane, settings, Admission(settings.targets, connections), connections)
    app = web.Application()
    add_health_routes(app, connections, lambda: "draining" if signals.is_leaving else None)
    add_tunnel_routes(app, tunnels, settings.base_path)
    http = HttpService(plane, app, sockets)
    await http.start()
    freeze_startup()
    await signals.wait()
    await drain(settings, connections, close_door=lambda: None)  # from here on tunnels are answered 503
    await http.close()
    plane.close()
    return 0


def add_tunnel_routes(app: web.Application, tunnels: Tunnels, base_path: str) -> None:
    """Serve tunnels under ``base_path``."""
    path = base_path + "/tunnel/{target:.*}"
    app.router.add_get(path, tunnels.open, allow_head=False)
    app.router.add_head(path, tunnels.check)
