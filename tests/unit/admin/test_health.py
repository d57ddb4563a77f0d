import asyncio
import json

import pytest
from aiohttp import web

from sokken.admin.health import add_health_routes
from sokken.protocol.address import Address
from sokken.transport.connections import Connection, Connections
from sokken.transport.http import HttpService
from sokken.transport.listen import bind
from tests.support.loops import LOOPS, planes, run
from tests.support.raw_http import Answer, exchange, request

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def ask(loop: str, *requests: bytes, used: int = 0, limit: int = 100, reason: str | None = None) -> list[Answer]:
    """The answers of a program with so many connections; ``reason`` is why it is not ready."""

    async def main():
        connections = Connections(limit)
        for number in range(used):
            connections.admit(Connection(connections, str(number), None, "peer", None, {}))
        app = web.Application()
        add_health_routes(app, connections, lambda: reason)
        async with planes() as plane:
            sockets = bind(Address("127.0.0.1", 0), "API_ADDR")
            where = sockets[0].getsockname()
            http = HttpService(plane, app, sockets)
            await http.start()
            answers = [await asyncio.to_thread(exchange, where, data) for data in requests]
            await http.close()
        return answers

    return run(main(), loop)


@pytest.mark.parametrize(
    ("used", "limit", "body"),
    [
        (0, 100, b'{\n  "connections": 0,\n  "max-connections": 100,\n  "connections-used-percent": 0.0\n}\n'),
        (2, 100, b'{\n  "connections": 2,\n  "max-connections": 100,\n  "connections-used-percent": 0.02\n}\n'),
        (3, 3, b'{\n  "connections": 3,\n  "max-connections": 3,\n  "connections-used-percent": 1.0\n}\n'),
    ],
)
def test_health_to_the_letter(loop, used, limit, body):
    for reason in (None, "draining"):
        [answer] = ask(loop, request("/health"), used=used, limit=limit, reason=reason)
        assert (answer.status, answer.body) == (200, body)
        assert answer.fields["content-type"] == "application/json"
        json.loads(answer.body)


def test_alive_whatever_happens(loop):
    for reason in (None, "draining"):
        [answer] = ask(loop, request("/livez"), reason=reason, used=1, limit=1)
        assert (answer.status, answer.body) == (200, b"ok\n")


def test_ready_or_why_not(loop):
    assert [(answer.status, answer.body) for answer in ask(loop, request("/readyz"))] == [(200, b"ok\n")]
    [answer] = ask(loop, request("/readyz"), reason="server check: connection refused")
    assert (answer.status, answer.body) == (503, b"server check: connection refused\n")
    assert "retry-after" not in answer.fields


def test_heads_are_answered_and_other_methods_are_not(loop):
    paths = ("/health", "/livez", "/readyz")
    for answer in ask(loop, *[request(path, "HEAD") for path in paths]):
        assert (answer.status, answer.body) == (200, b"")
    for answer in ask(loop, *[request(path, "POST") for path in paths]):
        assert (answer.status, answer.fields["allow"]) == (405, "GET,HEAD")
