"""``/livez``, ``/readyz`` and ``/health``: the same on both programs, never counted, also while draining.

Liveness says that the loop turns, and nothing of servers, targets or credentials: a probe that depends on the
tunnel restarts pods for other people's outages.
"""

import json
from collections.abc import Callable

from aiohttp import web

from sokken.transport.connections import Connections

NotReady = Callable[[], str | None]
"""Why the program is not ready, in a few words; None if it is."""


def add_health_routes(app: web.Application, connections: Connections, not_ready: NotReady) -> None:
    """Serve the three paths."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        reason = not_ready()
        return web.Response(text="ok\n") if reason is None else web.Response(status=503, text=f"{reason}\n")

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

    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/health", health)
