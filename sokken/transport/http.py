"""Serving HTTP: an aiohttp application behind our listener, with one shape for every error.

Both programs serve their API_ADDR with it. Every answer closes its connection, and every refusal is a problem
document (RFC 9457) with a ``Sokken-Reason``.
"""

import json
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from aiohttp import hdrs, web

from sokken.protocol.address import mask_user
from sokken.protocol.handshake import MAX_HEAD_BYTES, PROBLEM_TYPE, SERVER, format_problem, refusal_fields
from sokken.protocol.identity import CONNECTION_ID, parse_claims
from sokken.protocol.outcomes import Reason, Refusal, problem_document
from sokken.telemetry.logs import get_logger
from sokken.transport.channel import Channel
from sokken.transport.connections import new_connection_id
from sokken.transport.listen import Listener
from sokken.transport.plane import Plane
from sokken.transport.upgrade import HeadReader, Upgrade

_PROTOCOL: Final[dict[str, Any]] = {
    "access_log": None,
    # One request a connection, and one limit for its head; the socket has its keep-alive already.
    "keepalive_timeout": 0,
    "lingering_time": 0,
    "max_field_size": MAX_HEAD_BYTES,
    "max_line_size": MAX_HEAD_BYTES,
    "tcp_keepalive": False,
}
_FAREWELL_SECONDS: Final = 1.0  # what an answer that is being made when the program ends may take
_SHOWN: Final = 100
_BAD_REQUEST: Final = 400
_SERVER_ERROR: Final = 500
_FAULT: Final[Mapping[str, str | int]] = {
    "type": "about:blank",
    "title": "Internal Server Error",
    "status": _SERVER_ERROR,
}

log = get_logger("http")

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Next = Callable[[Channel, str], object]
Stage = Callable[[Channel, str, Next], object]
"""What is done with an accepted connection (and its peer's address) before its head is read: it calls the next."""


class HttpService:
    """Serves an application on listening sockets until it is closed; ``stages`` in the order of the bytes.

    ``upgrade`` sees every well-formed request first, and keeps the connections of those that it takes.
    """

    def __init__(
        self,
        plane: Plane,
        app: web.Application,
        sockets: list[socket.socket],
        stages: Sequence[Stage] = (),
        upgrade: Upgrade | None = None,
    ) -> None:
        self._plane = plane
        self._stages = stages
        self._upgrade = upgrade
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=_FAREWELL_SECONDS)
        self._sockets = sockets
        self._listener: Listener | None = None

    async def start(self) -> None:
        """Begin to accept."""
        await self._runner.setup()
        server = self._runner.server
        if server is None:  # pragma: no cover -- for the type checker; set up just above
            raise RuntimeError
        server.request_handler = _answer_once(server.request_handler)

        make_protocol = partial(HttpProtocol, server, loop=self._plane.loop, **_PROTOCOL)

        def read_head(channel: Channel, peer: str) -> object:
            return HeadReader(self._plane, channel, peer, make_protocol, self._upgrade)

        accept: Next = read_head
        for stage in reversed(self._stages):
            accept = _before(stage, accept)
        self._listener = Listener(self._plane.loop, self._sockets, accept)

    async def close(self) -> None:
        """Accept no more, and end what is being answered."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()


def _before(stage: Stage, following: Next) -> Next:
    return lambda channel, peer: stage(channel, peer, following)


class HttpProtocol(web.RequestHandler):
    """aiohttp's side of a connection, with our answer where its parser, or a handler, gave up."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = _SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer instead of a handler, and log it; aiohttp calls it with 400 for what it cannot parse."""
        if status == _BAD_REQUEST:
            problem = (message or "").partition("\n")[0].rstrip(":")
            return sign(_refuse(request, Refusal(Reason.BAD_REQUEST, f"a malformed request: {problem[:_SHOWN]}")))
        connection_id = _identify(request)
        log.error(
            "request_failed",
            connection_id=connection_id,
            peer=request.remote,
            method=request.method,
            path=_path(request),
            exc_info=exc or sys.exception(),
        )
        return sign(_answer_problem(_SERVER_ERROR, _FAULT, {CONNECTION_ID: connection_id}))


def answer_refusal(refusal: Refusal, connection_id: str) -> web.Response:
    """A refusal as aiohttp answers it."""
    headers = {**refusal_fields(refusal), CONNECTION_ID: connection_id}
    return _answer_problem(refusal.status, problem_document(refusal), headers)


def format_fault(connection_id: str) -> bytes:
    """The whole answer to a request that failed here, for who answers without aiohttp."""
    return format_problem(_FAULT, {CONNECTION_ID: connection_id})


def _answer_once(handle: Handle) -> Handle:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        try:
            _refuse_body(request)
            response = await handle(request)
        except Refusal as refusal:
            response = _refuse(request, refusal)
        except web.HTTPException as error:
            response = _refuse_as(request, error)
        return sign(response)

    return answer


def sign(response: web.StreamResponse) -> web.StreamResponse:
    """What every answer says; for a handler that sends its answer's head itself."""
    response.headers[hdrs.SERVER] = SERVER
    response.headers[hdrs.CONNECTION] = "close"
    response.force_close()
    return response


def _refuse_body(request: web.BaseRequest) -> None:
    # Expect announces a body (RFC 9110 section 10.1.1); aiohttp would ask for it.
    if request.body_exists or hdrs.EXPECT in request.headers:
        raise Refusal(Reason.BAD_REQUEST, "a request here has no body")


def _refuse_as(request: web.BaseRequest, error: web.HTTPException) -> web.Response:
    """What aiohttp's router refuses: unknown paths and wrong methods."""
    reason = Reason.NOT_FOUND if error.status == 404 else Reason.BAD_REQUEST
    detail = f"{error.reason}: {request.method} {_path(request)}"
    response = _refuse(request, Refusal(reason, detail, status=error.status))
    if hdrs.ALLOW in error.headers:
        response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
    return response


def _path(request: web.BaseRequest) -> str:
    """As it may be shown: a query may hold a token, and a user a password."""
    return mask_user(request.raw_path.partition("?")[0])[:_SHOWN]


def _refuse(request: web.BaseRequest, refusal: Refusal) -> web.Response:
    connection_id = _identify(request)
    log.warning(
        "bad_request",
        connection_id=connection_id,
        peer=request.remote,
        status=refusal.status,
        detail=refusal.detail,
    )
    return answer_refusal(refusal, connection_id)


def _identify(request: web.BaseRequest) -> str:
    return parse_claims(request.headers).connection_id or new_connection_id()


def _answer_problem(status: int, document: Mapping[str, str | int], headers: Mapping[str, str]) -> web.Response:
    body = json.dumps(document).encode("ascii")
    return web.Response(body=body, status=status, headers=headers, content_type=PROBLEM_TYPE)
