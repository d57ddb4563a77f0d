"""Serving HTTP: an aiohttp application behind our listener, with one shape for every error.

Both programs serve their API_ADDR with it. Every answer closes its connection, and every refusal is a problem
document (RFC 9457) with a ``Sokken-Reason``.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from sokken.protocol.identity import REASON
from sokken.protocol.outcomes import Reason, Refusal, problem_document
from sokken.telemetry.logs import get_logger
from sokken.transport.listen import Listener
from sokken.transport.plane import Plane
from sokken.transport.upgrade import HeadReader

log = get_logger("http")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_SERVER_ERROR: Final = 500


class HttpService:
    """Serves an application on listening sockets until it is closed."""

    def __init__(self, plane: Plane, app: web.Application, sockets: list[socket.socket]) -> None:
        self._plane = plane
        self._runner = web.AppRunner(app, handle_signals=False, access_log=None, lingering_time=0)
        self._sockets = sockets
        self._listener: Listener | None = None

    async def start(self) -> None:
        """Begin to accept."""
        await self._runner.setup()
        factory = self._runner.server
        if factory is None:  # pragma: no cover -- for the type checker; set up just above
            raise RuntimeError

        def accept(sock: socket.socket, peer: str) -> None:
            HeadReader(self._plane, sock, peer, factory)

        self._listener = Listener(self._plane.loop, self._sockets, accept)

    async def close(self) -> None:
        """Accept no more, and end what is being answered."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()


def make_application() -> web.Application:
    """An application whose errors are problem documents and whose answers end their connection."""
    return web.Application(middlewares=[_answer_once])


def answer_refusal(refusal: Refusal) -> web.Response:
    """A refusal as aiohttp answers it."""
    headers = {REASON: refusal.reason.value}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    return web.json_response(
        problem_document(refusal),
        status=refusal.status,
        headers=headers,
        content_type="application/problem+json",
    )


@web.middleware
async def _answer_once(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        _refuse_body(request)
        response = await handler(request)
    except Refusal as refusal:
        response = answer_refusal(refusal)
    except web.HTTPException as error:
        response = _answer_http_error(request, error)
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("request_failed", peer=request.remote, method=request.method)
        response = web.json_response(
            {"type": "about:blank", "title": "Internal Server Error", "status": _SERVER_ERROR},
            status=_SERVER_ERROR,
            content_type="application/problem+json",
        )
    if not response.prepared:
        response.force_close()
    return response


def _refuse_body(request: web.Request) -> None:
    if request.body_exists:
        raise Refusal(Reason.BAD_REQUEST, "a request here has no body")


def _answer_http_error(request: web.Request, error: web.HTTPException) -> web.Response:
    """What aiohttp's router refuses: unknown paths and wrong methods."""
    reason = Reason.NOT_FOUND if error.status == 404 else Reason.BAD_REQUEST
    refusal = Refusal(reason, f"{error.reason}: {request.method} {request.path}", status=error.status)
    response = answer_refusal(refusal)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
