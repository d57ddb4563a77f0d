import asyncio
import json
import socket
import threading
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from sokken.protocol.address import Address
from sokken.protocol.handshake import Fields
from sokken.protocol.policy import policy_of_targets
from sokken.server.admission import Admission
from sokken.server.authentication import Authentication
from sokken.server.greeting import Greeting
from sokken.server.program import serve_tunnels
from sokken.server.request import TunnelRequest
from sokken.server.tunnel import Tunnels
from sokken.transport.connections import Connections
from sokken.transport.listen import bind
from sokken.transport.plane import Plane
from sokken.transport.resolve import Resolver
from tests.support.loops import LOOPS, planes, run, soon, tcp_pair
from tests.support.raw_http import KEY, parse_answer, request, upgrade
from tests.support.targets import PATIENCE, connect, echo, receive_all, reset, target, was_reset
from tests.support.wire import BINARY, TEXT, Wire, receive_head

pytestmark = pytest.mark.parametrize("loop", LOOPS)
ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@dataclass(frozen=True)
class Settings:
    allowed_origins: tuple[str, ...] = ()
    target_timeout_seconds: float = PATIENCE
    half_closed_timeout_seconds: float = 3600
    trusted_proxies = ()


def tunnels_to(port: int, plane: Plane, connections: Connections, tasks: asyncio.TaskGroup) -> Tunnels:
    """Tunnels for everybody to this port of ``db.test``."""
    admission = Admission(policy_of_targets([Address("db.test", port)]), connections)
    greeting = Greeting(admission, (), is_secure=False)
    return Tunnels(plane, Settings(), Authentication(), greeting, admission, connections, tasks)


class Server:
    """Serves tunnels to ``db.test``, which resolves to where the test says, and not before it says so."""

    def __init__(self, where: tuple[str, int], to: tuple[str, int]) -> None:
        self.where = where
        self.to = to
        self.connections = Connections(10)
        self.resolves = threading.Event()
        self.asked = 0

    @property
    def path(self) -> str:
        return f"/tunnel/db.test:{self.to[1]}"

    def look_up(self, host: str, port: int):
        self.asked += 1
        assert self.resolves.wait(PATIENCE)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", self.to)]

    async def begin(self, *fields: tuple[str, str]) -> socket.socket:
        """A request whose target is being dialled."""
        sock = connect(self.where)
        sock.sendall(upgrade(self.path, *fields))
        await soon(lambda: self.asked)
        assert len(self.connections) == 1
        return sock


@asynccontextmanager
async def servers(to: tuple[str, int]):
    async with planes() as plane, asyncio.TaskGroup() as tasks:
        sockets = bind(Address("127.0.0.1", 0), "API_ADDR")
        server = Server(sockets[0].getsockname(), to)
        tunnels = tunnels_to(to[1], plane, server.connections, tasks)
        tunnels._resolver = Resolver(plane.loop, server.look_up)
        http = serve_tunnels(plane, web.Application(), sockets, tunnels)
        await http.start()
        yield server
        server.resolves.set()
        await soon(lambda: len(server.connections) == 0)
        await http.close()


def lines_of(main, loop) -> list[dict]:
    with capture_logs() as lines:
        run(main, loop)
    return lines


def test_a_tunnel_is_counted_from_its_admission_to_its_end_and_told(loop):
    async def main(where):
        async with servers(where) as server:
            claims = {"Client-Id": "me", "Tunnel": "night", "Version": "1.2", "Connection-Id": ID}
            said = [(f"Sokken-{name}", value) for name, value in claims.items()]
            sock = await server.begin(*said, ("X-Forwarded-For", "192.0.2.9, 192.0.2.8"))
            server.resolves.set()
            head = await asyncio.to_thread(receive_head, sock)
            assert (head.status, head.fields["sokken-connection-id"]) == (101, ID)
            wire = Wire(sock, head.rest, masks=True)
            wire.send(BINARY, b"hello")
            assert await asyncio.to_thread(wire.receive_bytes, 5) == b"hello"
            assert len(server.connections) == 1
            wire.reset()

    with target(echo) as where:
        opened, closed = lines_of(main(where), loop)
    assert [opened["event"], closed["event"]] == ["connection_opened", "connection_closed"]
    for line in (opened, closed):
        assert (line["connection_id"], line["client_id"], line["tunnel"]) == (ID, "me", "night")
        assert (line["client_version"], line["forwarded_for"]) == ("1.2", "192.0.2.9, 192.0.2.8")
        assert str(line["target"]) == f"db.test:{where[1]}"


def test_what_was_not_told_is_not_in_the_log(loop):
    async def main(where):
        async with servers(where) as server:
            sock = await server.begin()
            server.resolves.set()
            await asyncio.to_thread(receive_head, sock)
            reset(sock)

    with target(echo) as where:
        opened, _ = lines_of(main(where), loop)
    assert opened["client_id"] is None
    assert {"tunnel", "client_version", "forwarded_for"}.isdisjoint(opened)


def test_a_client_that_resets_while_its_target_is_dialled(loop):
    async def main(where):
        async with servers(where) as server:
            sock = await server.begin(("Sokken-Connection-Id", ID))
            reset(sock)
            await soon(lambda: len(server.connections) == 0)
            assert not server.resolves.is_set()  # nothing was waited for

    with target(echo) as where:
        [line] = lines_of(main(where), loop)
    assert (line["event"], line["outcome"], line["connection_id"]) == ("connection_abandoned", "peer_reset", ID)


SAID = {
    "upgrade": ["websocket"],
    "connection": ["Upgrade"],
    "sec-websocket-version": ["13"],
    "sec-websocket-key": [KEY],
    "sec-websocket-protocol": ["sokken.v2"],
}


def test_a_client_that_goes_in_the_very_moment_that_its_target_answers(loop):
    """Its reset is told in the same turn: the target's connection is ended as well, by a reset."""
    accepted = []

    async def main(where):
        async with planes() as plane, asyncio.TaskGroup() as tasks:
            connections = Connections(10)
            tunnels = tunnels_to(where[1], plane, connections, tasks)
            found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", where)]
            with tcp_pair() as (ours, theirs):
                resolving = plane.loop.create_future()

                async def resolve(host: str, port: int):
                    await resolving
                    reset(ours)
                    return found

                tunnels._resolver.resolve = resolve
                asked = TunnelRequest(f"db.test:{where[1]}", (1, 1), Fields(SAID), theirs, "192.0.2.1:1")
                opening = asyncio.ensure_future(tunnels.open(asked, b""))
                await soon(lambda: len(connections) == 1)
                resolving.set_result(None)
                await opening
                await soon(lambda: theirs.fileno() == -1)
            await soon(lambda: len(connections) == 0)
            await soon(lambda: accepted)

    def note(sock: socket.socket) -> None:
        accepted.append(was_reset(sock))

    with target(note) as where:
        lines = lines_of(main(where), loop)
    assert accepted == [True]
    # Which of the two is noticed first is the kernel's affair.
    assert (lines[-1]["event"], lines[-1]["outcome"]) in {
        ("connection_abandoned", "peer_reset"),
        ("connection_closed", "peer_lost"),
    }


def test_a_fault_is_answered_and_told(loop):
    async def main(where):
        async with servers(where) as server:
            sock = connect(server.where)
            server.connections.admit = None  # nothing that a client could do
            sock.sendall(upgrade(server.path, ("Sokken-Connection-Id", ID)))
            answer = parse_answer(await asyncio.to_thread(receive_all, sock))
            sock.close()
            assert (answer.status, answer.fields["sokken-connection-id"]) == (500, ID)

    with target(echo) as where:
        [line] = lines_of(main(where), loop)
    assert (line["event"], line["connection_id"]) == ("request_failed", ID)


def test_at_the_end_of_a_drain_a_dial_is_given_up_and_the_client_told_to_go_elsewhere(loop):
    async def main(where):
        async with servers(where) as server:
            sock = await server.begin(("Sokken-Connection-Id", ID))
            server.connections.go_away()
            server.connections.end_drain()
            answer = parse_answer(await asyncio.to_thread(receive_all, sock))
            sock.close()
            assert (answer.status, answer.fields["sokken-reason"]) == (503, "draining")
            assert answer.fields["retry-after"] == "1"
            assert "ends before its target has answered" in answer.problem["detail"]
            assert not server.resolves.is_set()

    with target(echo) as where:
        [line] = lines_of(main(where), loop)
    assert (line["event"], line["reason"], line["connection_id"]) == ("connection_refused", "draining", ID)


def test_a_tunnel_that_opens_while_the_server_drains_tells_its_client(loop):
    async def main(where):
        async with servers(where) as server:
            sock = await server.begin()
            server.connections.go_away()
            server.resolves.set()
            head = await asyncio.to_thread(receive_head, sock)
            wire = Wire(sock, head.rest, masks=True)
            told = await asyncio.to_thread(wire.receive)
            assert (told.opcode, told.payload) == (TEXT, b"goaway")
            wire.reset()

    with target(echo) as where:
        run(main(where), loop)


def test_a_check_dials_nothing(loop):
    async def main(where):
        async with servers(where) as server:
            for fields, status in (((), 204), ((("Origin", "https://evil.test"),), 403)):
                sock = connect(server.where)
                sock.sendall(request(server.path, "HEAD", "HTTP/1.1", *fields))
                answer = parse_answer(await asyncio.to_thread(receive_all, sock))
                sock.close()
                assert (answer.status, answer.body) == (status, b"")
            assert server.asked == 0

    with target(echo) as where:
        [line] = lines_of(main(where), loop)
    assert (line["event"], line["reason"]) == ("check_refused", "forbidden_origin")


def test_a_name_that_resolves_to_nothing_that_answers(loop):
    async def main():
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            async with servers(closed.getsockname()) as server:
                sock = await server.begin()
                server.resolves.set()
                answer = parse_answer(await asyncio.to_thread(receive_all, sock))
                sock.close()
                assert (answer.status, answer.fields["sokken-reason"]) == (502, "target_refused")
                assert json.loads(answer.body)["detail"].endswith("connection refused")

    run(main(), loop)
