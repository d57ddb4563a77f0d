"""Ten thousand short connections leave nothing behind."""

import asyncio
import socket
import struct
from contextlib import contextmanager

import pytest
import uvloop

from tests.support.health import connections, everything_is_freed
from tests.support.programs import client, server
from tests.support.targets import eventually

HALF = 5_000
AT_ONCE = 32
MOST_KIB = 256  # that the second half may add: 50 bytes each, less than any object of a connection
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Echo(asyncio.Protocol):
    """Sends back what comes; a message that begins with "e" is also its last."""

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        self._transport.write(data)
        if data[:1] == b"e":
            self._transport.close()


async def visit(number, entry):
    """Every third is ended by the application, by the target, and by a reset of the application."""
    loop = asyncio.get_running_loop()
    how = b"aer"[number % 3 : number % 3 + 1]
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, entry)
        said = how + b"%07d" % number
        await loop.sock_sendall(sock, said)
        heard = b""
        while len(heard) < len(said):
            heard += await loop.sock_recv(sock, 64)
        assert heard == said
        if how == b"r":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            return
        sock.shutdown(socket.SHUT_WR)
        assert await loop.sock_recv(sock, 64) == b""


async def visit_often(numbers, entry):
    """``AT_ONCE`` at a time."""
    left = iter(numbers)

    async def visit_in_turn():
        for number in left:
            await visit(number, entry)

    async with asyncio.timeout(60), asyncio.TaskGroup() as visitors:
        for _ in range(AT_ONCE):
            visitors.create_task(visit_in_turn())


@contextmanager
def runner():
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as running:
        echo = running.run(create_echo())
        try:
            yield running, echo.sockets[0].getsockname()
        finally:
            echo.close()
            running.run(asyncio.sleep(0))


async def create_echo():
    return await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=1024)


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_ten_thousand_short_connections_leave_nothing_behind(loop):
    env = {"SOKKEN_EVENT_LOOP": loop}
    with runner() as (running, to), server(to, env=env) as far, client(far.url(to), env=env) as near:
        ends = (far, near)
        memory = []
        with everything_is_freed(*ends):
            for first in (0, HALF):
                running.run(visit_often(range(first, first + HALF), near.entry))
                for end in ends:
                    end.program.wait_for("connection_closed", first + HALF)
                    eventually(lambda end=end: connections(end.api) == 0)
                memory.append([end.program.anonymous_kib() for end in ends])
        for before, after in zip(*memory, strict=True):
            assert after - before < MOST_KIB
        for end in ends:
            assert len(end.program.events("connection_opened")) == 2 * HALF
            assert len(end.program.events("connection_closed")) == 2 * HALF
            assert {line["event"] for line in end.program.lines if line["level"] not in {"info", "debug"}} == set()
