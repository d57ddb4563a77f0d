"""The admin address as one aiohttp application: probes, status, connections, metrics, and the page.

The programs make one ``Admin`` each, and serve it where it may be served: on SOKKEN_ADMIN_ADDR, and on the client's
API_ADDR if that is out of strangers' reach. A server's API_ADDR is everybody's, and never gets it.
"""

import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Final

from aiohttp import hdrs, web

from sokken.admin.access import Access, guard, harden
from sokken.admin.connections import Lister, parse_query
from sokken.admin.door import Door
from sokken.admin.events import Events
from sokken.admin.health import NotReady, add_health_routes, add_probe_routes
from sokken.admin.sampling import Sampler
from sokken.admin.status import Program, describe_program
from sokken.protocol.outcomes import Reason, Refusal
from sokken.telemetry.logs import get_logger
from sokken.telemetry.metrics import Metrics

_PAGE: Final = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_NO_METRICS: Final = (
    "metrics are off: they are kept where SOKKEN_ADMIN_ADDR or SOKKEN_ADMIN_TOKEN_FILE is set, and "
    "OTEL_METRICS_EXPORTER does not leave prometheus out"
)

log = get_logger("admin")


class Admin:
    """Everything that is behind the admin routes of one program."""

    def __init__(self, door: Door, program: Program, metrics: Metrics | None = None) -> None:
        self._access = Access(door)
        self._program = program
        self._metrics = metrics
        self._sampler = Sampler(program.connections)
        self._lister = Lister(self._sampler)
        self._events = Events()

    def __repr__(self) -> str:
        return f"<Admin {self._program.role} {self._events!r}>"

    def app(self) -> web.Application:
        """An application that serves it; each address needs its own."""
        app = make_app(self._access)
        app.on_shutdown.append(self._events.end)
        add_health_routes(app, self._program.connections, self._program.not_ready)
        for path in _PAGE:
            app.router.add_get(path, self._page)
        app.router.add_get("/statusz", self._statusz)
        app.router.add_get("/connections", self._connections)
        app.router.add_get("/events", self._watch, allow_head=False)
        app.router.add_get("/metrics", self._render)
        app.router.add_post("/connections/{id}/abort", self._abort)
        return app

    async def _page(self, request: web.Request) -> web.Response:
        name, content_type = _PAGE[request.path]
        body = files("sokken.admin").joinpath("page", name).read_bytes()
        return web.Response(body=body, content_type=content_type, charset="utf-8")

    async def _statusz(self, _: web.Request) -> web.Response:
        sweep = await self._sampler.sweep()
        document = describe_program(self._program, sweep, needs_token=self._access.needs_token)
        return _answer({**document, "settings": list(self._program.settings)})

    async def _connections(self, request: web.Request) -> web.Response:
        _, page = await self._lister.view(parse_query(request.query))
        return _answer(page)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        query = parse_query(request.query)

        async def look() -> object:
            self._access.check_token(request)  # it may have been replaced meanwhile
            sweep, page = await self._lister.view(query)
            status = describe_program(self._program, sweep, needs_token=self._access.needs_token)
            return {"status": status, "list": page}

        return await self._events.stream(request, look)

    async def _render(self, _: web.Request) -> web.Response:
        return await render_metrics(self._metrics)

    async def _abort(self, request: web.Request) -> web.Response:
        """A client chooses its connections' ids, so that there may be two of one id: it aborts both."""
        connection_id = request.match_info["id"]
        found = [connection for connection in self._program.connections if connection.id == connection_id]
        if not found:
            raise Refusal(Reason.NOT_FOUND, "there is no such connection, or it has ended already")
        for connection in found:
            log.warning("abort_asked", **connection.describe(), asked_by=request.remote)
            connection.kill()
        return _answer({"aborted": len(found)})


class PlainAdmin:
    """The same of a program that has no connections to show: probes, status, metrics."""

    def __init__(
        self,
        door: Door,
        describe: Callable[[], Mapping[str, object]],
        not_ready: NotReady,
        not_alive: NotReady,
        metrics: Metrics | None = None,
    ) -> None:
        """``describe`` makes the document of /statusz."""
        self._access = Access(door)
        self._describe = describe
        self._not_ready = not_ready
        self._not_alive = not_alive
        self._metrics = metrics

    def app(self) -> web.Application:
        """An application that serves it; each address needs its own."""
        app = make_app(self._access)
        add_probe_routes(app, self._not_ready, self._not_alive)
        app.router.add_get("/statusz", self._statusz)
        app.router.add_get("/metrics", self._render)
        return app

    async def _statusz(self, _: web.Request) -> web.Response:
        return _answer(dict(self._describe()))

    async def _render(self, _: web.Request) -> web.Response:
        return await render_metrics(self._metrics)


def make_app(access: Access) -> web.Application:
    """An application that lets in whom the access does, and whose answers browsers treat with care."""
    app = web.Application(middlewares=[guard(access)])
    app.on_response_prepare.append(harden)
    return app


async def render_metrics(metrics: Metrics | None) -> web.Response:
    """What Prometheus scrapes; raises Refusal if nothing is kept."""
    if metrics is None:
        raise Refusal(Reason.NOT_FOUND, _NO_METRICS)
    return web.Response(body=await metrics.render(), headers={hdrs.CONTENT_TYPE: metrics.content_type})


def _answer(document: object) -> web.Response:
    return web.Response(body=json.dumps(document).encode() + b"\n", content_type="application/json")
