"""``/livez`` and ``/readyz`` of every program, ``/health`` of the tunnel's ends: never counted, also while draining.

Liveness says that the loop turns, and nothing of servers, targets or credentials: a probe that depends on the
tunnel restarts pods for other people's outages.
"""

import json
from collections.abc import Callable

from aiohttp import web

from sokken.transport.connections import Connections

NotReady = Callable[[], str | None]
"""Why the program is not ready, in a few words; None if it is."""


def add_probe_routes(app: web.Application, not_ready: NotReady, not_alive: NotReady = lambda: None) -> None:
    """Serve the two that are probed; ``not_alive`` is why a restart would help, if it would."""

    async def livez(_: web.Request) -> web.Response:
        return _answer(not_alive())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(not_ready())

    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)


def add_health_routes(app: web.Application, connections: Connections, not_ready: NotReady) -> None:
    """Serve the three paths of a program that has connections."""

    async def health(_: web.Request) -> web.Response:
        # The original's document, to the letter: "percent" is the fraction, as it always was.
        used = len(connections)
        document = {
            "connections": used,
            "max-connections": connections.limit,
            "connections-used-percent": used / connections.limit,
        }
        body = json.dumps(document, indent=2) + "\n"
        return web.Response(body=body.encode(), content_type="application/json")

    add_probe_routes(app, not_ready)
    app.router.add_get("/health", health)


def _answer(problem: str | None) -> web.Response:
    return web.Response(text="ok\n") if problem is None else web.Response(status=503, text=f"{problem}\n")
